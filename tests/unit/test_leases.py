"""Leases of scans: many hold scans of one store, nobody holds the whole meanwhile, and the dead are taken over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xct_pipeline.store import holder
from xct_pipeline.store.files import STATE, RefusedError
from xct_pipeline.store.holder import held, holder_of, leases_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / STATE).mkdir()
    return tmp_path


def note(root: Path, scan: str | None, host: str, age_s: float = 0.0) -> Path:
    """Write what another process would have about itself."""
    file = root / STATE / "lock.json" if scan is None else root / STATE / "leases" / scan / "lock.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    since = datetime.now(UTC).isoformat()
    file.write_text(json.dumps({"pid": 2**22 + 1, "host": host, "job": "7_3", "beat_s": 15.0, "since": since}))
    os.utime(file, (time.time() - age_s,) * 2)
    return file


def test_two_scans_are_held_at_a_time_and_the_store_by_nobody_else(root: Path) -> None:
    with held(root, "a"), held(root, "b"):
        assert [(lease.scan, lease.held) for lease in leases_of(root)] == [("a", True), ("b", True)]
        with pytest.raises(RefusedError, match=f"a of .* is in use by process {os.getpid()} on"), held(root, "a"):
            pass
        with pytest.raises(RefusedError, match=r"a of .* is in use by process"), held(root):
            pass
        found = holder_of(root)
        assert found is not None
        assert found.scan == "a"
    assert leases_of(root) == []
    with held(root), pytest.raises(RefusedError, match="is in use by process"), held(root, "a"):
        pass
    with held(root, "a"):
        assert not (root / STATE / "lock.json").exists()


def test_a_lease_of_this_host_is_the_kernel_s(root: Path) -> None:
    note(root, "a", socket.gethostname())  # renewed just now, and nobody has the lock
    assert [lease.held for lease in leases_of(root)] == [False]
    with held(root):
        assert leases_of(root) == []
    note(root, "a", socket.gethostname())
    with held(root, "a"):
        pass


def test_a_killed_process_holds_nothing(root: Path) -> None:
    code = "import sys, time\nfrom pathlib import Path\nfrom xct_pipeline.store.holder import held\n"
    code += "with held(Path(sys.argv[1]), 'a'):\n    print('held', flush=True)\n    time.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RefusedError, match=f"in use by process {process.pid} on"), held(root, "a"):
            pass
        with held(root, "b"):
            pass
    finally:
        process.kill()
        process.communicate()
    assert [lease.held for lease in leases_of(root)] == [False]
    with held(root, "a"):
        pass


def test_a_holder_elsewhere_is_alive_while_it_is_renewed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "LOOK_S", 0.02)
    file = note(root, "a", "elsewhere")
    (lease,) = leases_of(root)
    assert (lease.held, str(lease)) == (True, "process 4194305 on elsewhere (job 7_3)")
    renewing = threading.Timer(0.1, os.utime, (file,))
    renewing.start()
    with (
        pytest.raises(RefusedError, match=r"in use by process 4194305 on elsewhere \(job 7_3\); wait"),
        held(root, "a"),
    ):
        pass
    renewing.join()
    assert json.loads(file.read_text())["host"] == "elsewhere"  # it keeps its lease


@pytest.mark.parametrize("scan", [None, "a"])
def test_a_holder_elsewhere_that_is_silent_is_taken_over(
    root: Path, monkeypatch: pytest.MonkeyPatch, scan: str | None
) -> None:
    note(root, scan, "elsewhere", age_s=holder.SILENT_S + 1)
    with held(root, "a"):
        pass
    monkeypatch.setattr(holder, "LOOK_S", 0.02)
    monkeypatch.setattr(holder, "SILENT_S", 0.3)
    note(root, scan, "elsewhere")
    began = time.monotonic()
    with held(root):
        assert time.monotonic() - began > 0.1
    assert holder_of(root) is None


def test_a_holder_gives_signs_of_life(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "BEAT_S", 0.05)
    with held(root, "a"):
        file = root / STATE / "leases" / "a" / "lock.json"
        os.utime(file, (0, 0))
        limit = time.monotonic() + 10
        while file.stat().st_mtime == 0:
            assert time.monotonic() < limit
            time.sleep(0.02)
