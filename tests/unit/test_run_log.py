"""The log of a run on a disk that does not take it: said once, and the run goes on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from xct_pipeline.engine.run_log import _LogFile

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
def test_a_log_that_cannot_be_written_is_told_once_and_breaks_nothing(caplog, capsys, monkeypatch):
    monkeypatch.setattr(_LogFile, "_open", lambda self: FULL.open("w"))
    handler, log = _LogFile("store/run.log", delay=True), logging.getLogger("xct")
    log.addHandler(handler)
    try:
        for k in range(3):
            log.warning("scan %d", k)
    finally:
        log.removeHandler(handler)
        handler.close()
    told = [record.getMessage() for record in caplog.records]
    assert [text for text in told if "without its log" in text] == [
        f"{Path('store/run.log').absolute()}: No space left on device; the run goes on without its log"
    ]
    assert [text for text in told if text.startswith("scan")] == ["scan 0", "scan 1", "scan 2"]
    assert "Traceback" not in capsys.readouterr().err
