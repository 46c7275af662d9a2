"""The charge given for each scan, without times: the same balance as with a log, from raw scans and from volumes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from command import Ended, xct
from test_watch import tiny
from volume_series import balance_of, same_errors, write_series

COLUMNS = ["mass_change_mg", "charge_C", "faraday_mg"]


def same(before: Path, after: Path, names: list[str]) -> None:
    mine, other = balance_of(after).loc[names], balance_of(before).loc[names]
    np.testing.assert_allclose(mine[COLUMNS], other[COLUMNS], rtol=1e-6, atol=1e-9)
    same_errors(mine, other)


def slope_of(store: Path) -> float:
    return float(pd.read_csv(store / "tables" / "faraday.csv").set_index("quantity").loc["slope", "value"])


@pytest.mark.slow
def test_volumes_without_times(small_series: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    names = ["scan_1", "scan_11"]
    config = write_series(tmp_path / "given", small_series, dict.fromkeys(names, "nabu"))
    text = config.read_text().replace('times = "times.csv"\n', "")
    text = text[: text.index("[electrochemistry]")] + "[electrochemistry]\n"
    config.write_text(text + 'charges = "times.csv"\n')
    checked = xct(capsys, "check", config)
    assert checked.code == 0, checked.err
    ended = xct(capsys, "run", config)
    assert ended.code == 0, ended.err
    store = config.parent / "store.zarr"
    same(small_series, store, names)
    assert balance_of(store)["time_s"].isna().all()
    assert 0.5 < slope_of(store) < 1.5
    last = 1.0 - float(balance_of(small_series).loc["scan_11", "charge_C"])
    config.write_text(text + f"charges = {{ scan_1 = 1.0, scan_11 = {last!r} }}\ncharge_sign = -1\n")
    assert xct(capsys, "run", config).code == 0
    same(small_series, store, names)
    config.write_text(text + "charges = { scan_1 = 1.0, scan_2 = 5.0 }\n")
    ended = xct(capsys, "run", config)
    assert ended.code == 0
    assert "electrochemistry.charges: scan_2 named there is no scan" in ended.err
    assert "the charges given lack scan_11" in ended.err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tiny(tmp_path, 0, more='[electrochemistry]\ncharges = "none.csv"\n')
    for command in ("check", "run"):
        refused: Ended = xct(capsys, command, config)
        assert refused.code == 1
        assert "none.csv: cannot be read" in refused.err
        assert len(refused.err.splitlines()) == 1
    assert not (tmp_path / "store.zarr").exists()


@pytest.mark.slow
def test_raw_scans_without_times(small_series_copy: Path, capsys: pytest.CaptureFixture) -> None:
    names = ["scan_1", "scan_5", "scan_11"]
    folder, before = small_series_copy.parent, balance_of(small_series_copy)
    for file in folder.glob("scan_*.nxs"):
        if file.stem not in names:
            file.unlink()
            continue
        with h5py.File(file, "r+") as nexus:
            found: list[str] = []
            nexus.visit(
                lambda name, found=found: found.append(name) if name.endswith(("start_time", "end_time")) else None
            )
            for name in found:
                del nexus[name]
    before.loc[names, ["charge_C", "voltage_V"]].to_csv(folder / "charges.csv")
    text = (folder / "run.toml").read_text().replace('"store.zarr"', '"other.zarr"')
    (folder / "run.toml").write_text(
        text[: text.index("[electrochemistry]")] + '[electrochemistry]\ncharges = "charges.csv"\n'
    )
    ended = xct(capsys, "run", folder / "run.toml")
    assert ended.code == 0, ended.err
    after = balance_of(folder / "other.zarr")
    assert after["time_s"].isna().all()
    np.testing.assert_allclose(after["charge_C"], before.loc[names, "charge_C"], atol=1e-9)
    assert (np.abs(after["mass_change_mg"] - before.loc[names, "mass_change_mg"]) < 3 * after["sigma_mg"].max()).all()
    assert 0.5 < slope_of(folder / "other.zarr") < 1.5
