"""The report shows what is in the store: change the store and the page changes."""

from __future__ import annotations

import functools
import json
import re
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import report_store
from report_store import SCANS, write_store
from vouch import vouch

from xct_pipeline.report import write_report
from xct_pipeline.report.areal import areal_maps, average, significance
from xct_pipeline.report.conclusions import mass_says
from xct_pipeline.report.contents import AbsentError, open_level, read_contents, warnings_of
from xct_pipeline.report.drawing import contrast, nice, shown_scans, symmetric
from xct_pipeline.report.markup import Picture, frame_markup, plus_minus
from xct_pipeline.report.page import facts
from xct_pipeline.report.projection import paint, view
from xct_pipeline.report.region import read_part, region_mask, smoothed
from xct_pipeline.report.sections import SECTIONS
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = write_store(tmp_path_factory.mktemp("complete") / "sample.zarr")
    write_report(store.path)
    return store.path


@pytest.fixture
def copied(complete: Path, tmp_path: Path) -> Path:
    shutil.copytree(complete, tmp_path / "sample.zarr")
    return tmp_path / "sample.zarr"


def page(store: Path) -> str:
    return (store / "report.html").read_text(encoding="utf-8")


def panels(text: str) -> dict[str, str]:
    """Title of every panel that is drawn, and its markup."""
    parts = re.split(r'<article data-panel="([^"]+)">', text)[1:]
    return {parts[k]: parts[k + 1].split("</article>")[0] for k in range(0, len(parts), 2)}


def left_out(text: str) -> dict[str, str]:
    return dict(re.findall(r'<p class="absent" data-panel="([^"]+)"><b>[^<]*</b> left out: ([^<]*)</p>', text))


def whole(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in shape)


def drawn(store: Path, title: str) -> str:
    """One panel alone."""
    panel = next(panel for section in SECTIONS for panel in section.panels if panel.title == title)
    return str(panel.draw(read_contents(store)))


def pictures(markup: str) -> list[str]:
    return re.findall(r"data:image/\w+;base64,[A-Za-z0-9+/=]+", markup)


def test_a_finished_store_fills_every_panel(small_series: Path) -> None:
    text = page(small_series)
    assert left_out(text) == {}
    assert len(panels(text)) == 35
    assert all(
        pictures(m) or 'class="chart' in m or "<t" in m or "<ul" in m or "<ol" in m or "<pre" in m
        for m in panels(text).values()
    )
    assert (small_series / "report.html").stat().st_size < 15e6


def test_the_page_names_nothing_outside_itself(small_series: Path) -> None:
    own = page(small_series).replace(_plotly(), "")
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', own)
    assert "url(" not in own
    assert "http" not in re.sub(r"data:[^\"]*", "", own)


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def test_equal_stores_give_equal_pages(small_series: Path, small_series_copy: Path) -> None:
    write_report(small_series_copy)
    assert page(small_series_copy) == page(small_series)


def test_text_from_the_store_is_escaped(complete: Path) -> None:
    assert "5 &lt;b&gt;rows&lt;/b&gt; were left uncorrected" in page(complete)
    assert "5 <b>rows</b>" not in page(complete)


def test_provenance_is_shown(small_series: Path) -> None:
    text = page(small_series)
    for part in ("../scan_10.nxs", "xct-pipeline", "4200", "[variation]", "closure = &#34;na_only&#34;", "33.3333 µm"):
        assert part in text, part
    assert "distance_mm =" not in text  # None has no place in TOML


def test_warnings_come_from_attributes_tables_and_the_log(copied: Path) -> None:
    store = Store(copied)
    table = store.read_table("registration")
    table["problem"] = [None, None, "no overlap with the reference"]
    store.write_table("registration", table)
    (copied / "run.log").write_text(
        "2026-01-01 10:00:00,1 INFO all well\n2026-01-01 10:00:01,2 WARNING scan_01: tilted axis\n"
    )
    assert warnings_of(read_contents(copied)) == [
        ("scan_02", "5 <b>rows</b> were left uncorrected"),
        ("scan_02", "no overlap with the reference"),
        ("scan_01", "tilted axis"),
    ]


def test_a_warning_of_the_series_is_shown_once_though_the_log_has_it_too(copied: Path) -> None:
    """The series keeps it with the scan in the sentence, as the log does."""
    Store(copied).update({"warnings": [["", "scan_01: most of the error is from rings"], ["", "routes: disagree"]]})
    lines = ("scan_01: most of the error is from rings", "routes: disagree", "scan_02: moved")
    (copied / "run.log").write_text("".join(f"2026-01-01 10:00:01,2 WARNING {line}\n" for line in lines))
    told = warnings_of(read_contents(copied))
    assert told == [("scan_01", "most of the error is from rings"), ("", "routes: disagree"), ("scan_02", "moved")]


@functools.cache
def untouched(store: Path, title: str) -> str:
    """One panel of a store that no test changes."""
    return drawn(store, title)


BY_TABLE = [
    ("mass_balance", "mass_change_mg", "Measured mass against charge"),
    ("mass_balance", "sigma_noise_mg", "What the error consists of"),
    ("mass_routes", "sigma_mg", "Routes to the mass"),
    ("row_totals", "mass_change_mg", "Mass along the detector's rows"),
    ("grey_scale", "sigma_cupping", "Grey values of what is uniform"),
    ("shell_correlation", "correlation", "Noise and resolution"),
    ("reconstruction", "noise_halves", "Noise and resolution"),
    ("depth_profile", "density_g_cm3", "Depth"),
    ("radial_profile", "density_g_cm3", "Radius"),
    ("interface", "fraction", "Contact with the ceramic"),
    ("interface", "fraction", "Spreading"),
    ("labels", "volume_mm3", "Volume of each material"),
    ("registration", "residual", "Residuals"),
    ("registration", "m03", "Residuals"),
    ("cycler", "voltage_V", "Maps beside the voltage profile"),
    ("cycler", "voltage_V", "The same in 3-D"),
    ("faraday", "value", "Measured mass against charge"),
    ("cycler", "voltage_V", "Log"),
    ("drt_peaks", "resistance_ohm", "Resistance against contact and mass"),
    ("impedance", "real_ohm", "Impedance"),
    ("drt", "distribution_ohm", "Relaxation times"),
    ("drt_peaks", "resistance_ohm", "Peaks"),
    ("voltammetry", "current_A", "Voltammetry"),
    ("cycling", "charge_C", "Cycling"),
    ("reconstruction", "center", "Numbers"),
    ("frames", "last", "Frames"),
    ("mass_balance", "mass_change_mg", "Maps beside the voltage profile"),
    ("mass_balance", "mass_change_mg", "The same in 3-D"),
    ("depth_profile", "density_g_cm3", "Everything in tables/"),
]


@pytest.mark.parametrize(("table", "column", "panel"), BY_TABLE)
def test_a_panel_follows_its_table(
    small_series: Path, small_series_copy: Path, table: str, column: str, panel: str
) -> None:
    store = Store(small_series_copy)
    rows = store.read_table(table)
    rows[column] = rows[column] * 0.6 + 0.01
    store.write_table(table, rows)
    assert drawn(small_series_copy, panel) != untouched(small_series, panel)


def test_frames_that_deviate_are_drawn_with_what_was_seen(small_series_copy: Path) -> None:
    store = Store(small_series_copy)
    rows = store.read_table("frames")
    name = rows["scan"][0]
    more = [
        {"scan": name, "kind": "projections", "first": 4, "last": 6, "left_out": True, "finding": "are empty"},
        {"scan": name, "kind": "flats", "first": 1, "last": 1, "left_out": False, "finding": "are darker"},
    ]
    store.write_table("frames", pd.concat([rows, pd.DataFrame(more).assign(frames=1, level=np.nan)]))
    panel = drawn(small_series_copy, "Frames")
    assert f"{name}, projections 4 to 6: are empty" in panel
    assert f"{name}, flats 1: are darker" in panel


BY_IMAGE = [
    ("registered", "Virtual cross-sections"),
    ("registered", "Before and after"),
    ("registered/labels/materials", "Materials"),
    ("variation/density", "Maps beside the voltage profile"),
    ("variation/density", "The same in 3-D"),
    ("variation/attenuation", "From slice to map"),
    ("variation/areal", "Change, error and significance"),
    ("variation/areal_sigma", "Change, error and significance"),
    ("variation/areal_consecutive", "Between consecutive scans"),
    ("registered", "Maps beside the voltage profile"),
    ("registered", "From slice to map"),
    ("registered/labels/materials", "From slice to map"),
    ("variation/density", "From slice to map"),
    ("variation/areal", "From slice to map"),
]


@pytest.mark.parametrize(("image", "panel"), BY_IMAGE)
def test_a_panel_follows_its_image(small_series: Path, small_series_copy: Path, image: str, panel: str) -> None:
    import zarr

    source = "registered" if Series.open(small_series_copy).derives(image) else image
    for level in (small_series_copy / source).glob("[0-9]"):
        array = zarr.open_array(str(level), mode="r+")
        values = array[...]
        array[...] = values[..., ::-1, :] if image.endswith("materials") else values[..., ::-1, :] * np.float32(1.37)
    vouch(small_series_copy, source)
    assert drawn(small_series_copy, panel) != untouched(small_series, panel)


BY_ATTRIBUTE = [
    ("facts", {"scan_10": {"projections": 1801, "rows": 4, "columns": 5}}, "Scans"),
    ("scans", {"scan_10": ["../other.nxs"]}, "Scans"),
    ("versions", {"xct-pipeline": "9.9"}, "Software"),
    ("config", {"seed": 12}, "Configuration"),
    ("times_s", {f"scan_{k}": [k**2, k**2 + 1] for k in range(1, 12)}, "Volume of each material"),
    ("versions", {"xct-pipeline": "9.9"}, "Methods and papers to cite"),
]


@pytest.mark.parametrize(("key", "value", "panel"), BY_ATTRIBUTE)
def test_a_panel_follows_an_attribute(
    small_series: Path, small_series_copy: Path, key: str, value: dict, panel: str
) -> None:
    from xct_pipeline.store.files import read_attributes, write_group

    Store(small_series_copy).update({key: value})
    for path in ("registered", "registered/labels/materials"):  # times are read from there first
        attributes = read_attributes(small_series_copy / path)
        del attributes["xct"]["time_s"]
        write_group(small_series_copy / path, attributes)
    assert drawn(small_series_copy, panel) != untouched(small_series, panel)


BY_ESTIMATE = [
    ("scan_10/center.npz", "curve", "Centre of rotation"),
    ("scan_10/center.npz", "metric_curve", "Centre of rotation"),
]


@pytest.mark.parametrize(("file", "array", "panel"), BY_ESTIMATE)
def test_a_panel_follows_an_estimate(
    small_series: Path, small_series_copy: Path, file: str, array: str, panel: str
) -> None:
    path = Store(small_series_copy).state / "estimates" / file
    with np.load(path) as kept:
        arrays = dict(kept)
    changed = arrays[array] ** 2 + np.roll(arrays[array], 1, axis=-1)
    np.savez(path, **{**arrays, array: changed})
    assert drawn(small_series_copy, panel) != untouched(small_series, panel)


def test_every_panel_is_among_those_that_were_changed() -> None:
    changed = {row[-1] for rows in (BY_TABLE, BY_IMAGE, BY_ATTRIBUTE, BY_ESTIMATE) for row in rows}
    assert changed == {panel.title for section in SECTIONS for panel in section.panels}


def test_the_product_comes_first_and_what_is_missing_last(tmp_path: Path, complete: Path) -> None:
    assert next(iter(panels(page(complete)))) == "Maps beside the voltage profile"
    store = write_store(tmp_path / "volumes.zarr", tables=False, maps=False, registered=False)
    write_report(store.path)
    ids = re.findall(r'<section id="(\w+)">', page(store.path))
    assert ids == ["cell", "experiment", "missing", "warnings"]


def test_bins_average_noise_as_it_is_correlated(copied: Path) -> None:
    contents = read_contents(copied)
    maps = areal_maps(contents)
    size = maps.bins[-1].size
    assert size > 1
    assert not maps.unmeasured
    noise = report_store.SIGMA * 2**0.5 / report_store.K_SPECIES * 12**0.5 * report_store.VOXEL_UM * 0.1
    assert np.nanmin(maps.bins[-1].sigma) == pytest.approx(noise / size, rel=0.02)  # white: 1 / sqrt(pixels)
    (copied / "tables" / "areal_noise.csv").unlink()
    single = areal_maps(read_contents(copied))
    assert single.bins[-1].size == 1
    assert single.unmeasured == "the store keeps no autocovariance of the noise of scan_01, scan_02"
    assert np.nanmedian(single.bins[-1].sigma) == pytest.approx(noise, rel=1e-3)


def test_maps_are_read_once_for_all_panels(complete: Path) -> None:
    contents = read_contents(complete)
    assert areal_maps(contents) is areal_maps(contents, 24)  # of fewer scans than either
    assert areal_maps(contents, across=5) is not areal_maps(contents)
    assert areal_maps(read_contents(complete)) is not areal_maps(contents)


def test_bins_keep_the_total(complete: Path) -> None:
    contents = read_contents(complete)
    plane = open_level(contents, "variation/areal", 10**9, 2).read(slice(None), slice(None))
    mean, count = average(plane, 4)
    assert np.nansum(mean * count) == pytest.approx(np.nansum(plane), rel=1e-6)
    assert count.sum() == np.isfinite(plane).sum()


def test_numbers_at_the_head_are_those_of_the_tables(complete: Path, copied: Path) -> None:
    assert "−0.02241 ± 0.00052 mg" in page(complete)
    assert "0.981 ± 0.021" in page(complete)
    store = Store(copied)
    rows = store.read_table("faraday")
    rows.loc[0, "value"] = 0.877
    store.write_table("faraday", rows)
    assert ("Faraday slope", "0.877 ± 0.021") in facts(read_contents(copied))


def test_no_change_gives_empty_maps(tmp_path: Path, complete: Path) -> None:
    store = write_store(tmp_path / "flat.zarr", loss=0.0)
    key = "bins beyond the decision limit, %"
    flat, changed = ([row[key] for row in significance(read_contents(p))] for p in (store.path, complete))
    assert max(flat) <= 13  # two-sided 10 %
    assert changed[-1] > 20


def test_a_store_of_volumes_only_gives_a_shorter_report(tmp_path: Path) -> None:
    store = write_store(tmp_path / "volumes.zarr", tables=False, maps=False, registered=False, warnings=())
    write_report(store.path)
    text = page(store.path)
    always = {"Scans", "Methods and papers to cite", "Software", "Configuration"}
    assert {"Virtual cross-sections", *always} == set(panels(text))
    assert "no image variation/density" in left_out(text)["Maps beside the voltage profile"]
    assert "None was raised." in text
    assert _plotly() not in text  # nothing to draw with it


def test_no_table_is_required(tmp_path: Path) -> None:
    store = write_store(tmp_path / "maps.zarr", tables=False)
    write_report(store.path)
    assert {"Maps beside the voltage profile", "The same in 3-D", "Before and after"} <= set(panels(page(store.path)))


def test_one_scan_without_voxel_size(tmp_path: Path) -> None:
    store = write_store(tmp_path / "one.zarr", scans=SCANS[:1], voxel_um=None)
    write_report(store.path)
    assert "size unknown" in page(store.path)
    assert "voxels" in panels(page(store.path))["Virtual cross-sections"]


def test_a_scan_that_failed_does_not_stop_the_report(copied: Path) -> None:
    import zarr

    for image in (
        "registered",
        "variation/density",
        "variation/attenuation",
        "variation/areal",
        "variation/areal_sigma",
    ):
        for level in (copied / image).glob("[0-9]"):
            zarr.open_array(str(level), mode="r+").with_config({"write_empty_chunks": True})[2] = np.nan
        vouch(copied, image)
    store = Store(copied)
    rows = store.read_table("mass_balance")
    rows.loc[2, rows.columns[1:]] = np.nan
    store.write_table("mass_balance", rows)
    shutil.rmtree(copied / "scans" / "scan_02")
    write_report(copied)
    assert set(left_out(page(copied))) <= {"Frames"}  # of which this store has no table


def test_json_in_the_page_is_valid(complete: Path, small_series: Path) -> None:
    found = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page(complete), re.S)
    assert len(found) >= 10
    assert all(json.loads(text, parse_constant=pytest.fail) for text in found)
    both = page(complete) + page(small_series)
    drawn = re.findall(r'px"></div><script type="application/json">(.*?)</script>', both, re.S)
    assert len(drawn) > 25
    for text in drawn:
        go.Figure(json.loads(text))  # which refuses what plotly does not know


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        write_report(tmp_path / "absent.zarr")


def test_memory_stays_small_beside_the_volume(tmp_path: Path) -> None:
    shape = (128, 512, 512)
    store = Store(tmp_path / "large.zarr")
    store.claim({"scan_00": ["../a.nxs"]})
    values = np.zeros(shape, np.float32)
    values[40:90, 100:400, 100:400] = 1
    report_store.put(store, "scans/scan_00/volume", "zyx", values, "1/cm", 1.0)
    size = values.nbytes
    del values
    tracemalloc.start()
    write_report(store.path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 2


def test_levels_are_chosen_by_size(complete: Path) -> None:
    contents = read_contents(complete)
    fine = open_level(contents, "registered", 72, 0)
    coarse = open_level(contents, "registered", 40, 0)
    assert (fine.factor, coarse.factor) == (1, 2)
    assert coarse.step == 2 * fine.step == 40.0
    assert coarse.positions(2)[0] == 0.5
    with pytest.raises(AbsentError, match="3 planes"):
        open_level(contents, "registered", 72, 3)


def test_region_is_that_of_the_configuration(complete: Path) -> None:
    contents = read_contents(complete)
    level = open_level(contents, "variation/density", 100, 0)
    inside = region_mask(contents, level, whole(level.shape))
    z0, z1 = report_store.REGION_Z
    assert np.flatnonzero(inside.any(axis=(1, 2))).tolist() == list(range(z0, z1))
    areal = open_level(contents, "variation/areal", 100, 0)
    assert np.array_equal(inside.any(axis=0), np.isfinite(areal.read(slice(None), slice(None))))


def test_a_region_by_label(complete: Path, copied: Path) -> None:
    store = Store(copied)
    config = store.attributes()["config"]
    config["variation"]["region"] = {"label": "nak"}
    store.update({"config": config})
    contents = read_contents(copied)
    level = open_level(contents, "variation/density", 100, 0)
    labels, _ = report_store.cell(report_store.SHAPE, 1.0, 3)
    assert np.array_equal(region_mask(contents, level, whole(level.shape)), labels == 3)


def test_the_region_is_read_as_finely_as_a_picture_needs(complete: Path) -> None:
    contents = read_contents(complete)
    fine, coarse = (read_part(contents, "variation/density", 2, side) for side in (72, 20))
    assert (fine.level.factor, fine.step) == (1, report_store.VOXEL_UM)
    assert coarse.step >= 3 * fine.step
    z0, z1 = report_store.REGION_Z
    rows = np.flatnonzero(fine.inside.any(axis=(1, 2)))
    assert fine.origin[0] + rows[0] * fine.step == (z0 + 0.5) * report_store.VOXEL_UM
    assert len(rows) == z1 - z0
    assert max(coarse.values.shape) <= 20
    everywhere = fine.level.read(*whole(fine.level.shape))
    mask = region_mask(contents, fine.level, whole(fine.level.shape))
    assert fine.values[fine.inside].sum() == pytest.approx(everywhere[mask].sum(), rel=1e-5)
    assert smoothed(fine, 1.5)[fine.inside].mean() == pytest.approx(everywhere[mask].mean(), rel=0.05)


def test_scans_stand_in_the_order_of_the_tables(copied: Path) -> None:
    store = Store(copied)
    table = store.read_table("registration").iloc[::-1]
    store.write_table("registration", table)
    assert read_contents(copied).scans == SCANS[::-1]


# ------------------------------------------------------------------------------------------------ small pieces


def test_round_numbers() -> None:
    assert [nice(v) for v in (0.11, 1.0, 4.2, 7.0, 96.0)] == pytest.approx([0.15, 1.0, 5.0, 8.0, 100.0])
    assert [nice(v, below=True) for v in (0.19, 1.0, 4.2, 9.9)] == pytest.approx([0.1, 1.0, 2.5, 5.0])
    assert nice(0.0) == nice(float("nan")) == 1.0
    assert symmetric([np.array([-3.0, np.nan, 1.0])], 100) == 3.0


def test_value_and_error_have_matching_digits() -> None:
    assert plus_minus(-1.23456, 0.0321) == "−1.235 ± 0.032"
    assert plus_minus(12345.0, 210.0) == "12345 ± 210"
    assert plus_minus(0.5, 0.0) == "0.5"


def test_grey_scale_lifts_light_materials_beside_heavy_ones() -> None:
    light = np.concatenate([np.full(900, 0.5), np.zeros(60), np.full(100, 7.0)])
    assert contrast(light)[2] == 0.5
    assert contrast(np.linspace(0, 1, 1000))[2] == 1.0
    assert contrast(np.full(5, np.nan)) == (0.0, 1.0, 1.0)


def test_first_and_last_scan_are_always_shown() -> None:
    assert shown_scans(3, 6) == [0, 1, 2]
    assert shown_scans(25, 6)[0] == 0
    assert shown_scans(25, 6)[-1] == 24
    assert len(shown_scans(25, 6)) == 6


def test_losses_are_blue_and_gains_red_in_space() -> None:
    values = np.zeros((24, 24, 24), np.float32)
    values[6:18, 6:18, 6:18] = -1
    loss, gain = (paint(sign * values, 1.0, 0.2) for sign in (1, -1))
    middle = loss.shape[0] // 2
    assert loss[middle, middle, 2] > loss[middle, middle, 0] + 0.2
    assert gain[middle, middle, 0] > gain[middle, middle, 2] + 0.2
    assert loss[0, 0, 3] == 0
    assert paint(0 * values, 1.0, 0.2)[..., 3].max() == 0


def test_a_volume_is_seen_where_its_box_is_and_what_is_nearer_covers_the_rest() -> None:
    values = np.zeros((20, 30, 40), np.float32)
    values[12:17, 4:9, 30:35] = -1
    seen = paint(values, 1.0, 0.2)[..., 3]
    up, right = (float((np.indices(seen.shape)[k] * seen).sum() / seen.sum()) for k in (0, 1))
    place = view() @ (np.array([14.0, 6.0, 32.0]) - (np.array(values.shape) - 1) / 2) + (len(seen) - 1) / 2
    assert (up, right) == pytest.approx((place[1], place[2]), abs=0.2)
    along = np.indices((30, 30, 30)).transpose(1, 2, 3, 0) - 14.5
    depth, up, right = np.moveaxis(along @ view().T, -1, 0)
    thick = np.where((np.abs(depth) < 9) & (np.hypot(up, right) < 6), np.sign(depth), 0).astype(np.float32)
    middle = paint(thick, 1.0, 0.2)[26, 26]  # loss in front of gain
    assert middle[2] > middle[0] + 0.2
    assert middle[3] > 0.9


def test_words_of_pictures_cover_neither_others_nor_the_edge(small_series: Path) -> None:
    contents = read_contents(small_series)
    drawn = [panel.draw for section in SECTIONS for panel in section.panels if isinstance(panel.draw, Picture)]
    assert len(drawn) == 5
    for picture in drawn:
        figure = picture.draw(contents)
        assert figure.get_layout_engine() is None  # whose search for a layout took longer than drawing
        whole = figure.get_tightbbox()
        assert min(whole.x0, whole.y0) > -0.01, picture.alt
        assert (np.array([whole.x1, whole.y1]) < figure.get_size_inches() + 0.01).all(), picture.alt
        for ax in figure.axes:
            covered = ax.get_tightbbox(for_layout_only=True)
            others = [other.get_window_extent() for other in figure.axes if other.bbox.bounds != ax.bbox.bounds]
            assert not any(covered.overlaps(other) for other in others), (picture.alt, ax.get_title())


def test_numbers_and_words_of_a_table() -> None:
    table = pd.DataFrame(
        {"name": ["<a>", None], "count": [3, 123456789], "value": [0.25, np.nan], "kept": [True, False]}
    )
    markup = str(frame_markup(table, {"value": "mg"}))
    assert "<td class=s>&lt;a&gt;</td><td class=n>3</td><td class=n>0.25</td><td class=n>yes</td>" in markup
    assert "<td class=s>–</td><td class=n>123456789</td><td class=n>–</td><td class=n>no</td>" in markup
    assert "1 more rows" in frame_markup(pd.DataFrame({"k": range(201)}))


def test_the_experiment_stands_first_and_the_library_may_lie_beside(complete: Path, copied: Path) -> None:
    store = Store(copied)
    told = {"title": "Stripping of <Na>", "sample": "cell 7", "beamline": "ID19", "date": "1 May", "operator": "R. W."}
    config = store.attributes()["config"] | {"experiment": told, "report": {"embed": False}}
    store.update({"config": config})
    contents = read_contents(copied)
    assert facts(contents)[:4] == [(key, told[key]) for key in ("sample", "beamline", "date", "operator")]
    write_report(copied)
    text = page(copied)
    assert "<h1>Stripping of &lt;Na&gt;</h1>" in text
    beside = re.findall(r'<script src="([^"]*)">', text)
    assert [(copied / name).resolve().stat().st_size > 10**6 for name in beside] == [True]
    assert len(text) < len(page(complete)) - 10**6


def test_the_head_says_how_much_and_how_sure(complete: Path, copied: Path) -> None:
    text = page(complete)
    assert "mg of Na left the region" in text
    assert "is 0.9 σ from 1: agrees" in text
    store = Store(copied)
    rows = store.read_table("mass_balance")
    rows.loc[len(rows) - 1, "sigma_mg"] = 1.0
    store.write_table("mass_balance", rows)
    assert "below the decision limit" in mass_says(read_contents(copied))[0]


@pytest.mark.parametrize(
    ("chi2", "degrees", "words"),
    [(0.9, 1, "χ²</span> 0.9 for 1 degree of freedom"), (40.0, 3, "more than their errors predict"), (0.0, 0, "")],
)
def test_no_raw_names_of_the_fit(copied: Path, chi2: float, degrees: int, words: str) -> None:
    store = Store(copied)
    rows = store.read_table("faraday")
    rows = rows[~rows["quantity"].isin(["chi2", "degrees"])]
    more = pd.DataFrame({"quantity": ["chi2", "degrees"], "value": [chi2, degrees], "sigma": [np.nan, np.nan]})
    store.write_table("faraday", pd.concat([rows, more], ignore_index=True))
    text = drawn(copied, "Measured mass against charge")
    assert words in text
    assert "<span>degrees" not in text
    assert "<span>chi2" not in text
