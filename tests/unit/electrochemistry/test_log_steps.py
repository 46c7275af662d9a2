"""The log of a configuration, as the steps of a run ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from xct_pipeline.config import Config
from xct_pipeline.electrochemistry.steps import log as steps


def _config(folder: Path, **more: Any) -> Config:
    return Config.model_validate(
        {
            "output": "store.zarr",
            "folder": folder,
            "acquisition": {"scans": ["scan_*.nxs"]},
            "electrochemistry": {"log": "log.csv", "time": "time_s", "charge": "charge_C", **more},
        }
    )


def test_a_log_is_read_once_while_neither_it_nor_what_is_said_of_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(
        steps, "read_log", lambda *given, _read=steps.read_log, **k: read.append(1) or _read(*given, **k)
    )
    table = pd.DataFrame({"time_s": np.arange(10.0), "charge_C": np.arange(10.0)})
    table.to_csv(tmp_path / "log.csv", index=False)
    first = steps.log_of(_config(tmp_path))
    assert steps.log_of(_config(tmp_path)) is first
    assert len(read) == 1
    assert (steps.log_of(_config(tmp_path, charge_sign=-1)).charge_C == -first.charge_C).all()
    table.assign(charge_C=2 * table["charge_C"]).to_csv(tmp_path / "log.csv", index=False)
    assert (steps.log_of(_config(tmp_path)).charge_C == 2 * first.charge_C).all()
    assert len(read) == 3
    (tmp_path / "log.csv").unlink()
    with pytest.raises(ValueError, match="does not exist"):
        steps.log_of(_config(tmp_path))
