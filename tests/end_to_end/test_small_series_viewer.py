"""The viewer on what a run wrote: layers, slider over time and the widgets' own functions, without a window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_series import SCANS, TIMES_S, as_written_before

pytest.importorskip("napari", reason="napari is not installed: pip install 'xct-pipeline[napari]'")
from napari.components import ViewerModel

import xct_pipeline as xct
from xct_pipeline.config import RegionOfInterest
from xct_pipeline.config.file import load_config
from xct_pipeline.store import layout
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store
from xct_pipeline.viewer import layers, window
from xct_pipeline.viewer.times import duration

pytestmark = pytest.mark.filterwarnings("ignore")  # napari's own


@pytest.fixture(params=["kept", "not kept"])
def store(request: pytest.FixtureRequest, small_series: Path) -> Path:
    """The store of the run, and one of a version that did not keep the order of the scans."""
    if request.param == "kept":
        return small_series
    return as_written_before(request.getfixturevalue("small_series_copy"))


def test_every_step_of_the_slider_shows_and_names_the_scan_of_that_time(store):
    viewer = ViewerModel()
    found = window.fill(viewer, layers.store_layers(store))
    volume = xct.open_volume(store)
    along = [layer for layer in found if "t" in tuple(layer.axis_labels)]
    assert len(along) >= 9
    for k, (name, time) in enumerate(zip(SCANS, TIMES_S, strict=True)):
        viewer.dims.set_current_step(0, k)
        assert viewer.canvas.overlays.text.text == f"{name}   {duration(time)}"
        shown = np.asarray(viewer.layers["registered, 1/cm"].data[0][k, 20])
        np.testing.assert_array_equal(shown, volume[k, 20])
        for layer in along:
            assert layer.metadata["xct"]["scans"][k] == name
            assert layer.metadata["xct"]["time_s"][k] == time
    assert not any("noise" in layer.name and "in 3-D" in layer.name for layer in found)


def test_volumes_of_scans_stand_in_order_of_time(store):
    found = layers.store_layers(store)
    names = [note["scans"][0] for _, keywords, _ in found if (note := keywords["metadata"]["xct"])["path"] in paths()]
    assert names == list(SCANS)
    data = {keywords["name"]: levels for levels, keywords, _ in found}
    np.testing.assert_array_equal(np.asarray(data["scan_10, 1/cm"][0]), xct.open_volume(store, "scan_10"))


def paths() -> set[str]:
    return {layout.VOLUME(scan=name) for name in SCANS}


@pytest.mark.parametrize("name", ["scan_2", "scan_10"])
def test_the_segmentation_widget_labels_the_plane_of_the_scan_that_was_chosen(store, name):
    pytest.importorskip("qtpy.QtWidgets", reason="no Qt binding", exc_type=Exception)
    from xct_pipeline.viewer.segment import plane_labels

    config = load_config(store.parent / "run.toml")
    labels, thresholds, _, _ = plane_labels(config, name, 24)
    assert thresholds == pytest.approx((0.12, 0.44, 4.0))
    written = open_image(Store(store).path / layout.MATERIALS)
    np.testing.assert_array_equal(labels, written[SCANS.index(name), 24])


def test_the_mass_widget_names_the_scan_of_every_sum_and_profile(store):
    pytest.importorskip("qtpy.QtWidgets", reason="no Qt binding", exc_type=Exception)
    from xct_pipeline.viewer.mass import profiles_of, sums_of

    region = load_config(store.parent / "run.toml").variation.region
    found = sums_of(store, RegionOfInterest.model_validate(region))
    table = xct.open_table(store, "mass_balance").set_index("scan")
    assert (found["scans"], found["time_s"].tolist()) == (list(SCANS), list(TIMES_S))
    for name, mass in zip(found["scans"], found["mass_mg"], strict=True):
        assert mass == pytest.approx(table.loc[name, "mass_change_mg"], rel=1e-4, abs=1e-6)
    _, curves, names, unit = profiles_of(store, np.array([[24.0, 10.0], [24.0, 30.0]]), 24)
    assert (names, unit) == (list(SCANS), "1/cm")
    series = xct.open_volume(store)
    np.testing.assert_allclose(curves[9][0], series[9, 24, 24, 10], rtol=1e-5)


def test_the_registration_widget_compares_the_scans_that_were_chosen(store):
    pytest.importorskip("qtpy.QtWidgets", reason="no Qt binding", exc_type=Exception)
    from xct_pipeline.viewer.register import planes_of

    fixed, moving, step, unit = planes_of(store, ("scan_1", "scan_10"), True, 20, (0.0, 0.0, 0.0), 0.0)
    volume = xct.open_volume(store)
    np.testing.assert_array_equal(fixed, volume[0, 20])
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(moving[inner], volume[9, 20][inner], rtol=1e-5)
    assert (step, unit) == (pytest.approx(100 / 3), "1/cm")


def test_what_the_run_found_is_what_widgets_begin_with(store):
    from xct_pipeline.pipeline import plan
    from xct_pipeline.store.series import Series
    from xct_pipeline.viewer import found

    series = Series.open(store)
    table = xct.open_table(store, "reconstruction").set_index("scan")
    items = {item.name: item for item in plan(load_config(store.parent / "run.toml")).scans}
    for name in SCANS:
        assert found.used_center(series, name) == pytest.approx(table.loc[name, "center"])
        estimate = found.found_center(series, name, items[name].frame)
        assert estimate.center == pytest.approx(table.loc[name, "center"])
        assert estimate.curve[0, estimate.curve[1].argmax()] == pytest.approx(estimate.center, abs=0.6)
        assert abs(estimate.center - 23.5) > 0.05  # not just the middle of 48 columns
    assert found.used_center(series, "no such scan") is None
    last = xct.open_table(store, "mass_balance").iloc[-1]
    assert found.mass_found(series).startswith(f"{last['scan']}: \N{MINUS SIGN}{abs(last['mass_change_mg']):.2g}"[:14])
    assert found.series_at(store.parent) is None


def test_the_nudge_that_a_widget_begins_with_brings_a_scan_onto_the_reference(store):
    pytest.importorskip("qtpy.QtWidgets", reason="no Qt binding", exc_type=Exception)
    from xct_pipeline.registration import transform as tf
    from xct_pipeline.registration.steps.motions import start_transform
    from xct_pipeline.store.series import Series
    from xct_pipeline.viewer.found import MOTION, found_motion
    from xct_pipeline.viewer.register import planes_of

    series = Series.open(store)
    table = xct.open_table(store, "registration").set_index("scan")
    assert found_motion(series, SCANS[0]) is None
    shape = series.volume(SCANS[0]).shape
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1).T
    for name in SCANS[1:]:
        motion = found_motion(series, name)
        true = tf.voxels_to_um(table.loc[name, MOTION].to_numpy(float).reshape(3, 4), 3 / 100)
        assert tf.largest_distance(start_transform(motion, shape), true, corners) < 0.05  # voxels
        moved = []
        for shift, turn in (((0.0, 0.0, 0.0), 0.0), (motion.shift, motion.rotation[0])):
            fixed, plane, *_ = planes_of(store, (SCANS[0], name), False, 20, shift, turn)
            moved.append(np.sqrt(np.nanmean((fixed - plane)[6:-6, 6:-6] ** 2)))
        assert moved[1] < moved[0]
