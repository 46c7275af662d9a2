"""A series that starts from volumes of other programs: the same registered volumes and masses as from raw scans."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import xct
from volume_series import balance_of, nabu, same_errors, write_series

from xct_pipeline.store.series import Series

SLICES_AND_NABU = {"scan_1": "tiff_slices", "scan_11": "nabu"}


def compare(before: Path, after: Path, names: list[str], exact: bool = True) -> None:
    raw, given = Series.open(before), Series.open(after)
    for name in names:
        mine = given.registered().isel(t=given.plane("registered", name)).to_numpy()
        other = raw.registered().isel(t=raw.plane("registered", name)).to_numpy()
        assert np.array_equal(mine, other, equal_nan=True) or not exact, name
    mine, other = balance_of(after).loc[names], balance_of(before).loc[names]
    for column in ("mass_change_mg", "sigma_mg", "faraday_mg"):
        tolerance = 1e-6 * other[column].abs().max() if exact else 0.3 * other["sigma_mg"].max()
        if column == "sigma_mg":
            same_errors(mine, other, tolerance)
        else:
            assert np.abs(mine[column] - other[column]).max() <= tolerance, column


def test_the_mass_is_that_from_raw_scans(small_series: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = write_series(tmp_path / "given", small_series, SLICES_AND_NABU)
    checked = xct(capsys, "check", config, "--json")
    assert checked.code == 0, checked.err
    (told,) = [text for scan in checked.json["scans"] for text in scan["warnings"]]
    assert "start from volumes, without projections: not known are centre of rotation" in told
    ended = xct(capsys, "run", config)
    assert ended.code == 0, ended.err
    store = config.parent / "store.zarr"
    compare(small_series, store, list(SLICES_AND_NABU))
    table = pd.read_csv(store / "tables" / "reconstruction.csv")
    assert list(table["starts_from"]) == ["volume (TIFF slices)", "volume (HDF5)"]
    assert table["not_measured"].str.contains("saturated").all()
    assert not {"center", "clipped", "truncated_rows"} & set(table.columns)
    series = Series.open(store)
    assert [text for _, text in series.warnings if "without projections" in text] == [told]
    assert all(facts["starts_from"] == "volume" for facts in series.facts.values())
    assert series.times_s == pytest.approx([0.0, 42000.0])
    assert series.tables["noise"]["rings"].str.startswith("in the errors, about ").all()  # registration.axis is given
    assert "without projections" in (store / "report.html").read_text()
    assert "nothing was to be done" in xct(capsys, "run", config).out
    for command in (("center", config), ("preview", config)):
        refused = xct(capsys, *command)
        assert refused.code == 1
        assert "starts from a volume" in refused.err


@pytest.mark.slow
def test_raw_scans_and_volumes_make_one_series(
    small_series: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    layouts = {"scan_4": "ome_zarr_04", "scan_6": "httomo", "scan_8": "integers", "scan_11": "raw"}
    config = write_series(tmp_path / "given", small_series, layouts)
    raw = small_series.parent / "scan_1.nxs"
    text = config.read_text().replace(
        "[[acquisition.volume]]", f'[acquisition]\nscans = ["{raw}"]\n[[acquisition.volume]]', 1
    )
    before = (small_series.parent / "run.toml").read_text()
    correction = before[before.index("[correction.zinger]") : before.index("[registration]")]
    start = Series.open(small_series).facts["scan_1"]["start"]
    moments = pd.Timestamp(start) + pd.to_timedelta(
        pd.read_csv(config.parent / "times.csv")["time_s"] - 300.0, unit="s"
    )
    table = pd.DataFrame({"scan": list(layouts), "start": [m.isoformat() for m in moments]})
    table.to_csv(config.parent / "dates.csv", index=False)
    log = f'[electrochemistry]\nlog = "{small_series.parent / "cycler.csv"}"\ntime = "time_s"\ncharge = "charge_C"\n'
    text = text[: text.index("[electrochemistry]")].replace("times.csv", "dates.csv")
    config.write_text(text.replace("[registration]", correction + "[registration]") + log)
    ended = xct(capsys, "run", config)
    assert ended.code == 0, ended.err
    assert "scan_4, scan_6, scan_8, scan_11 start from volumes" in ended.out
    compare(small_series, config.parent / "store.zarr", ["scan_1", *layouts], exact=False)


@pytest.mark.slow
def test_the_shipped_configuration_runs(small_series: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    names = ["scan_2", "scan_11"]
    series = Series.open(small_series)
    (tmp_path / "recon").mkdir()
    for name in names:
        nabu(tmp_path / "recon", name, series.volume(name).to_numpy(), 100 / 3)
    table = series.tables["mass_balance"]
    table[table["scan"].isin(names)][["scan", "time_s", "charge_C"]].to_csv(tmp_path / "times.csv", index=False)
    shutil.copy(Path(__file__).resolve().parents[2] / "configs" / "from_volumes.toml", tmp_path / "run.toml")
    ended = xct(capsys, "run", tmp_path / "run.toml")
    assert ended.code == 0, ended.err
    balance = balance_of(tmp_path / "store.zarr")
    assert list(balance.index) == names
    assert balance["sigma_mg"].iloc[1] > 0


def test_a_wrong_volume_is_told_alike_by_check_and_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8, 9, 9), np.uint16))
    table = '[[acquisition.volume]]\nname = "a"\ndata = "a.npy"\naxes = "zyx"\nvoxel_um = 1.0\n'
    (tmp_path / "run.toml").write_text('output = "store.zarr"\n' + table)
    checked, ended = (xct(capsys, command, tmp_path / "run.toml") for command in ("check", "run"))
    assert (checked.code, ended.code) == (1, 1)
    assert checked.err == ended.err
    assert checked.err.count("\n") == 1
    assert "give unit" in checked.err
    assert not (tmp_path / "store.zarr").exists()
