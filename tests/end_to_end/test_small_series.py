"""Eleven scans whose names sort otherwise as text than in time, run to the end: every scan is called by its name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from command import shell
from scipy import ndimage
from small_series import REFERENCE, SCANS, TIMES_S, as_written_before

import xct_pipeline as xct
from xct_pipeline.config.file import load_config
from xct_pipeline.report import areal, write_report
from xct_pipeline.report.contents import open_level, read_contents
from xct_pipeline.report.sections import SECTIONS
from xct_pipeline.report.sheets import registration_sheet
from xct_pipeline.store import layout
from xct_pipeline.store.export import export_store
from xct_pipeline.store.files import StoreError, read_attributes
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store
from xct_pipeline.variation.steps.second import second_series

ALONG_T = (layout.REGISTERED, layout.MATERIALS, layout.ATTENUATION, layout.DENSITY, layout.AREAL, layout.AREAL_NOISE)


@pytest.fixture
def before(small_series_copy: Path) -> Path:
    """The same store as a version wrote it that kept neither the order of the scans nor the noise of maps."""
    return as_written_before(small_series_copy)


def test_the_series_stands_in_order_of_time(small_series):
    series = Series.open(small_series)
    assert series.scans == SCANS
    assert series.times_s == TIMES_S
    assert (series.reference, series.failed) == (REFERENCE, ())
    assert list(series.volumes) == list(SCANS)
    assert series.files["scan_10"] == ["../scan_10.nxs"]
    assert all(series.along(path) == SCANS for path in ALONG_T)
    assert [series.plane(layout.REGISTERED, name) for name in ("scan_2", "scan_10")] == [1, 9]
    with pytest.raises(StoreError, match="has no scan scan_12; its scans are scan_1, scan_2"):
        series.index("scan_12")


def test_a_store_that_kept_no_order_still_opens_in_it(before):
    series = Series.open(before)
    assert "order" not in series.attributes
    assert (series.scans, series.times_s, list(series.volumes)) == (SCANS, TIMES_S, list(SCANS))
    assert xct.open_volume(before)["scan"].values.tolist() == list(SCANS)
    for table in (before / "tables").glob("*.csv"):
        table.unlink()
    assert Series.open(before).scans == SCANS  # by their times
    Store(before).update({"times_s": {}})
    assert Series.open(before).scans == SCANS  # by the numbers in their names


def test_a_volume_opened_by_its_place_in_time_is_that_of_the_scan_it_is_called(small_series):
    volume = xct.open_volume(small_series)
    assert volume["scan"].values.tolist() == list(SCANS)
    assert volume["t"].values.tolist() == list(TIMES_S)
    reference = xct.open_volume(small_series, SCANS[REFERENCE])
    np.testing.assert_array_equal(volume[volume["scan"] == SCANS[REFERENCE]][0], reference)
    motions = xct.open_table(small_series, "registration").set_index("scan")
    for name in ("scan_2", "scan_10", "scan_11"):  # its own volume, moved as the table says of it, is its plane
        row = motions.loc[name, [f"m{i}{j}" for i in range(3) for j in range(4)]].to_numpy(float).reshape(3, 4)
        own = xct.open_volume(small_series, name).values
        moved = ndimage.affine_transform(own, row[:, :3], row[:, 3] / (100 / 3), order=3, cval=np.nan)
        moved = motions.loc[name, "gain"] * moved + motions.loc[name, "offset"]
        errors = [float(np.nanmean(np.abs(volume.values[k] - moved))) for k in range(len(SCANS))]
        assert int(np.argmin(errors)) == SCANS.index(name)
        assert sorted(errors)[0] < 0.1 * sorted(errors)[1]


def test_every_path_and_column_of_a_run_is_declared(small_series):
    images = [
        str(file.parent.relative_to(small_series))
        for file in small_series.rglob("zarr.json")
        if "identity" in read_attributes(file.parent).get("xct", {})
    ]
    assert len(images) >= 11 + 10
    assert [path for path in images if layout.image_place(path) is None] == []
    described = json.loads((small_series / layout.COLUMNS).read_text())
    series = Series.open(small_series)
    assert {name.removesuffix(".csv") for name in described} == set(series.tables)
    for name, table in series.tables.items():
        assert list(described[f"{name}.csv"]) == sorted(table.columns)
        for column in table.columns:
            entry = described[f"{name}.csv"][column]
            assert entry["meaning"]
            assert bool(entry["unit"]) == (entry["kind"] == "quantity")


def test_tables_call_every_scan_by_its_name(small_series):
    series = Series.open(small_series)
    for name in ("reconstruction", "registration", "mass_balance"):
        assert tuple(series.tables[name]["scan"]) == SCANS
    assert tuple(series.tables["mass_balance"]["time_s"]) == TIMES_S
    areal_map = series.image(layout.AREAL)
    for k, mean in enumerate(series.tables["mass_balance"]["mean_areal_mg_cm2"]):
        assert float(np.nanmean(areal_map[k])) == pytest.approx(mean, rel=1e-4, abs=1e-7)
    labels = series.image(layout.MATERIALS)
    voxels = series.tables["labels"].set_index(["scan", "label"])["voxels"]
    for k, name in enumerate(SCANS):
        counts = np.bincount(np.asarray(labels[k]).ravel(), minlength=5)
        assert [voxels[name, value] for value in range(1, 5)] == counts[1:5].tolist()


def test_export_calls_every_volume_by_its_name(small_series, tmp_path):
    done = [path.name for path in export_store(small_series, "hdf5", tmp_path)]
    assert done == [f"{name}.h5" for name in SCANS]
    for name in ("scan_2", "scan_10"):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            np.testing.assert_array_equal(file["volume"][:], xct.open_volume(small_series, name))
            assert file["volume"].attrs["voxel_size_um"] == pytest.approx(100 / 3)
    (folder,) = export_store(small_series, "tiff", tmp_path, ["scan_11"])
    np.testing.assert_array_equal(
        tifffile.imread(folder / "scan_11_00020.tif"), xct.open_volume(small_series, "scan_11")[20]
    )
    with pytest.raises(StoreError, match="no volume of scan_12; it has: scan_1, scan_2"):
        next(export_store(small_series, "tiff", tmp_path, ["scan_12"]))


def test_the_sheet_of_differences_and_info_call_scans_by_their_names(small_series, tmp_path):
    config = load_config(small_series.parent / "run.toml")
    assert registration_sheet(config, None, None, tmp_path / "sheet.png") == SCANS[1:]
    facts = shell("info", small_series, "--json").json
    assert facts["order"] == list(SCANS)
    assert (facts["reference"], facts["failed"]) == ("scan_1", {})
    assert facts["times_s"]["scan_10"] == [TIMES_S[9] - 300, TIMES_S[9] + 300]


def test_a_second_energy_is_read_in_the_order_of_its_planes(small_series, before):
    for store in (small_series, before):
        series = second_series(Store(store), REFERENCE)
        assert series.names == SCANS
        assert [motion.name for motion in series.motions] == list(SCANS)
        table = Series.open(store).tables["registration"]
        assert [motion.tre_self for motion in series.motions] == table["tre_self"].tolist()


# ------------------------------------------------------------------------------------------------ the report


def panel(store: Path, title: str) -> str:
    return str(next(p for s in SECTIONS for p in s.panels if p.title == title).draw(read_contents(store)))


def test_the_report_calls_every_scan_by_its_name(small_series):
    contents = read_contents(small_series)
    assert (contents.scans, contents.times_s, contents.reference) == (SCANS, TIMES_S, REFERENCE)
    volume = xct.open_volume(small_series)
    for k in range(len(SCANS)):
        level = open_level(contents, layout.REGISTERED, 100, k)
        np.testing.assert_array_equal(level.read(20), volume[k, 20])
    scans = panel(small_series, "Scans")
    assert re.findall(r"scan_\d+(?=</td>)", scans) == list(SCANS)
    assert f"{TIMES_S[9] - 300:.5g}" in scans.split("scan_10<")[1].split("</tr>")[0]
    assert "reference" in scans.split("scan_1<")[1].split("</tr>")[0]
    text = (small_series / "report.html").read_text()
    assert '<p class="absent"' not in text


def test_a_plane_is_found_by_the_name_that_its_image_keeps(small_series_copy):
    store = Store(small_series_copy)
    store.update({"order": ["scan_0", *SCANS]})  # a scan came to the front, and only volumes were made since
    contents = read_contents(store.path)
    level = open_level(contents, layout.REGISTERED, 100, 10)
    np.testing.assert_array_equal(level.read(20), xct.open_volume(store.path)[9, 20])
    assert contents.scans[10] == "scan_10"


def independent(changes: list[np.ndarray], boxes: list[tuple[slice, ...]], size: int, height: int) -> float:
    """Standard deviation of the sum over columns of a bin, from the autocovariance of changes where nothing happens.

    All pairs of voxels of quiet boxes at each lag, by Fourier transform: nothing of the pipeline's own code.
    """
    products, pairs = 0.0, 0.0
    for change in changes:
        for box in boxes:
            values = change[box] - change[box].mean()
            shape = [2 * n for n in values.shape]
            power = [np.fft.irfftn(np.abs(np.fft.rfftn(v, shape)) ** 2, shape) for v in (values, np.ones(values.shape))]
            lags = np.ix_(*(np.arange(-n, n + 1) for n in (4, 4, 4)))
            products, pairs = products + power[0][lags], pairs + power[1][lags]
    sides = (np.maximum(n - np.abs(np.arange(-4, 5)), 0) for n in (height, size, size))
    z, y, x = (side.reshape([-1 if k == axis else 1 for k in range(3)]) for axis, side in enumerate(sides))
    return float(np.sqrt((products / pairs * z * y * x).sum()))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_bins_of_the_map_err_as_an_independent_autocovariance_says(small_series, size):
    contents = read_contents(small_series)
    volume = xct.open_volume(small_series).values.astype(float)
    cylinder = contents.config["variation"]["region"]["cylinder"]
    height = cylinder["z"][1] - cylinder["z"][0]
    changes = [volume[k] - volume[REFERENCE] for k in range(1, len(SCANS))]
    boxes = [(z, slice(14, 34), slice(14, 34)) for z in (slice(2, 7), slice(34, 38))]  # sodium below, gas above
    to_areal = 1 / 0.28037 * 100 / 3 * 0.1  # 1/cm of Na at 50 keV, one voxel high, to mg/cm2
    expected = independent(changes, boxes, size, height) * to_areal / size**2
    bins = [areal.binned(areal.read_plane(contents, k), size) for k in range(1, len(SCANS))]
    found = np.sqrt(np.mean([np.nanmedian(one.noise) ** 2 for one in bins]))
    # errors of larger bins are those before resampling, which takes a part of rings that these boxes do not show
    assert found == pytest.approx(expected, rel=0.1 if size < 3 else 0.15)
    for one in bins:  # what is no noise is the smaller part; beside rings the motion's error is stated generously
        assert np.nanmedian(one.noise) <= np.nanmedian(one.sigma) < 1.3 * np.nanmedian(one.noise)


def test_where_no_error_of_bins_was_measured_the_panel_says_so(small_series, before):
    assert areal.areal_maps(read_contents(small_series)).unmeasured == ""
    assert "was not measured" not in panel(small_series, "Change, error and significance")
    drawn = panel(before, "Change, error and significance")
    assert "The error of larger squares was not measured: the store has no image variation/areal_noise." in drawn
    maps = areal.areal_maps(read_contents(before), across=5)
    assert maps.bins[0].size == 1
    wide = areal.binned(areal.read_plane(read_contents(before), 10), 3)
    assert np.isnan(wide.sigma).all()


def test_an_error_that_lacks_for_one_scan_is_named(small_series_copy):
    store = Store(small_series_copy)
    table = store.read_table("areal_noise")
    store.write_table("areal_noise", table[table["scan"] != "scan_11"])
    text = areal.areal_maps(read_contents(store.path), across=5).unmeasured
    assert text == "the store keeps no autocovariance of the noise of scan_11"
    write_report(store.path)
    assert "not measured: the store keeps no autocovariance" in (store.path / "report.html").read_text()


def test_the_rows_of_the_detector_are_a_second_route_to_the_mass(small_series):
    """Straight from sinograms, with an error of its own; this coarse cell's beam drifts within each scan."""
    tables = Series.open(small_series).tables
    routes, rows = tables["mass_routes"], tables["row_totals"]
    changed = SCANS[:REFERENCE] + SCANS[REFERENCE + 1 :]
    balance = tables["mass_balance"].set_index("scan")
    for route in ("volume", "rows", "all rows"):
        assert tuple(routes[routes["route"] == route]["scan"]) == changed
    volume, own = (routes[routes["route"] == route].set_index("scan") for route in ("volume", "rows"))
    assert volume["mass_change_mg"].equals(balance.loc[list(changed), "mass_change_mg"])
    summed = rows[rows["in_region"]].groupby("scan", sort=False)["mass_change_mg"].sum()
    np.testing.assert_allclose(own["mass_change_mg"], summed, rtol=1e-6)
    pulls = (own["mass_change_mg"] - balance["faraday_mg"].reindex(own.index)) / own["sigma_mg"]
    assert pulls.abs().max() < 4
    assert (own["rows"] == rows[rows["scan"] == SCANS[1]]["in_region"].sum()).all()
    assert own["sigma_drift_mg"].max() > 0
