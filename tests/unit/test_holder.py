"""Who holds a store: asking about it keeps no run from beginning, and a run that is alive does."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import filelock
import pytest

from xct_pipeline.store.files import STATE, RefusedError
from xct_pipeline.store.holder import LOCK, held, holder_of


def test_a_run_waits_for_whoever_asks_and_is_refused_by_a_run(tmp_path: Path) -> None:
    """Whoever asks about a run that was killed takes its lock for a moment."""
    (tmp_path / STATE).mkdir()
    asking = filelock.FileLock(tmp_path / LOCK, thread_local=False)
    asking.acquire()
    later = threading.Timer(0.1, asking.release)
    later.start()
    with held(tmp_path):
        later.join()
        found = holder_of(tmp_path)
        assert found is not None
        assert found.held
        began = time.monotonic()
        with pytest.raises(RefusedError, match="is in use by process"), held(tmp_path):
            pass
        assert time.monotonic() - began < 5
    assert holder_of(tmp_path) is None
