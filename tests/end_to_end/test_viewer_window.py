"""The viewer as it is used: a real napari window in which sliders move and every widget is driven to its result.

Needs a display: xvfb-run -a -s "-screen 0 1400x1000x24" pytest tests/end_to_end/test_viewer_window.py
Set XCT_SCREENSHOTS to a folder to keep the pictures.
"""

# ruff: noqa: E402 (what is missing is told before it is imported)
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import viewer_store

napari = pytest.importorskip("napari", reason="napari is not installed: pip install 'xct-pipeline[napari]'")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt binding: pip install 'xct-pipeline[napari]'", exc_type=Exception)

from xct_pipeline import pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.demo import simulate_folder
from xct_pipeline.planning import preview as previewing
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store
from xct_pipeline.viewer import window

PROBLEM = window.display_problem()
pytestmark = [
    pytest.mark.display,
    pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM)),
    pytest.mark.filterwarnings("ignore"),  # napari's own
]

if PROBLEM is None:
    from matplotlib.backend_bases import MouseEvent
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
    from napari.utils.notifications import notification_manager
    from qtpy.QtWidgets import QApplication

    from xct_pipeline import viewer as package
    from xct_pipeline.viewer import (
        answer,
        center,
        chain,
        docks,
        echem,
        mass,
        plugin,
        reconstruct,
        register,
        running,
        segment,
    )

CONFIG = """\
output = "store.zarr"

[acquisition]
scans = ["scan_*.nxs"]       # in time order

[correction.zinger]
method = "median"

[correction.stripe]
method = "none"              # look first

[reconstruction]
center = "auto"              # or a column

[registration]
method = "rigid"

[variation]
species = "Na"
closure = "na_only"
region = { cylinder = { z = [24, 40], radius = 30.0 } }

[electrochemistry]
log = "cycler.csv"
time = "time_s"
charge = "charge_C"
voltage = "voltage_V"
"""


def pump(condition=lambda: True, seconds=120.0):
    """Let the window work until something holds."""
    began = time.monotonic()
    while not condition():
        QApplication.processEvents()
        time.sleep(0.01)
        assert time.monotonic() - began < seconds, "the window took too long"
    for _ in range(5):
        QApplication.processEvents()
        time.sleep(0.02)


def idle(panel):
    slots = [value for value in vars(panel).values() if type(value).__name__ == "Latest"]
    pump(lambda: not any(slot.busy for slot in slots))


def picture(viewer, name, whole=True):
    pump()
    shot = viewer.screenshot(canvas_only=not whole, flash=False)
    if os.environ.get("XCT_SCREENSHOTS"):
        from matplotlib.image import imsave

        imsave(Path(os.environ["XCT_SCREENSHOTS"]) / f"{name}.png", np.ascontiguousarray(shot))
    assert shot[..., :3].std() > 0
    return shot


def differ(one, other):
    """Return how much two pictures differ, in grey values; bars come and go, so that sizes may."""
    rows, columns = (min(a, b) for a, b in zip(one.shape[:2], other.shape[:2], strict=True))
    return np.abs(one[:rows, :columns].astype(int) - other[:rows, :columns]).mean()


@pytest.fixture
def told():
    before = len(notification_manager.records)
    return lambda: [record.message for record in notification_manager.records[before:]]


@pytest.fixture
def opened():
    viewers = []

    def open_on(path):
        viewers.append(package.view(path, block=False))
        pump()
        return viewers[-1]

    yield open_on
    for viewer in viewers:
        if viewer in list(napari.Viewer._instances):
            viewer.close()
    running.finish_work()
    pump()


@pytest.fixture(scope="session")
def series(tmp_path_factory):
    """Raw scans of a small cell, and the store of a whole run on them."""
    folder = tmp_path_factory.mktemp("cell")
    simulate_folder(folder, scans=3, columns=96, rows=64, angles=151)
    (folder / "run.toml").write_text(CONFIG)
    result = pipeline.run(pipeline.plan(load_config(folder / "run.toml")))
    assert not result.failed
    return folder


@pytest.fixture
def cell(series, tmp_path):
    """A copy of the raw scans, not yet run."""
    shutil.copytree(series, tmp_path / "cell", ignore=shutil.ignore_patterns("store.zarr"))
    return tmp_path / "cell"


@pytest.fixture
def finished(series, tmp_path):
    """A copy with its store."""
    shutil.copytree(series, tmp_path / "cell")
    return tmp_path / "cell"


def panel_of(viewer, kind, config):
    panel = kind(viewer, config)
    viewer.window.add_dock_widget(panel, name=f"tested {kind.title}", area="right")
    idle(panel)
    return panel


# ------------------------------------------------------------------------------------------------ the window


def test_a_store_is_opened_and_its_sliders_are_moved(opened, tmp_path):
    viewer = opened(viewer_store.make_store(tmp_path / "store.zarr"))
    viewer.dims.set_current_step(0, 0)
    first = picture(viewer, "store_first", whole=False)
    assert "scan_00" in viewer.canvas.overlays.text.text
    viewer.dims.set_current_step(0, 2)
    last = picture(viewer, "store_last", whole=False)
    assert differ(last, first) > 0.5
    viewer.dims.set_current_step(1, 2)
    assert differ(picture(viewer, "store_other_plane", whole=False), last) > 0
    assert "40000" in str(viewer_store.TIMES[2]) or "11.11 h" in viewer.canvas.overlays.text.text
    viewer.dims.ndisplay = 3
    volume = picture(viewer, "store_3d", whole=False)
    reds, blues = volume[..., 0].astype(int), volume[..., 2].astype(int)
    assert (reds > blues + 40).any()
    assert (blues > reds + 40).any()
    picture(viewer, "store_3d_window")


def test_a_finished_store_opens_on_the_answer(opened, small_series):
    from small_series import SCANS

    viewer = opened(small_series)
    assert len(viewer.layers) == 7
    visible = {layer.name for layer in viewer.layers if layer.visible}
    assert visible == {"registered, 1/cm", "density change, smoothed, g/cm³", "materials"}
    assert viewer.dims.current_step[0] == len(SCANS) - 1
    assert viewer.layers["materials"].contour == 1
    assert viewer.layers["density change, smoothed, g/cm³"].colorbar.visible
    balance = Store(small_series).read_table("mass_balance").set_index("scan")
    first, second, third, fourth = viewer.canvas.overlays.text.text.splitlines()
    assert first.startswith("scan_11 ")
    assert second == f"{balance.loc['scan_11', 'charge_C']:.4g} C"
    assert third.endswith(" mg")
    limit = viewer.layers["density change, smoothed, g/cm³"].contrast_limits[1]
    assert fourth == f"colours: \N{MINUS SIGN}{limit:.3g} to {limit:.3g} g/cm³"
    shot = picture(viewer, "answer")
    viewer.layers["density change, smoothed, g/cm³"].visible = False
    assert differ(picture(viewer, "answer_without"), shot) > 0.1
    assert len(viewer.canvas.overlays.text.text.splitlines()) == 3


def test_a_click_on_the_curve_goes_to_the_scan_and_a_switch_brings_all_layers(opened, small_series):
    viewer = opened(small_series)
    series = viewer.window.dock_widgets["Series"]
    voltage, mass = series.axes.figure.axes
    table = Store(small_series).read_table("mass_balance")
    np.testing.assert_allclose(series.places, table["time_s"] / 3600, rtol=1e-6)
    drawn = mass.containers[0].lines[0]
    np.testing.assert_allclose(drawn.get_ydata(), table["mass_change_mg"])
    assert len(voltage.lines[-2].get_ydata()) == len(Store(small_series).read_table("cycler"))
    canvas = series.axes.figure.canvas
    for k in (3, 8):
        x, _ = voltage.transData.transform((series.places[k], 0.0))
        canvas.callbacks.process(
            "button_press_event", MouseEvent("button_press_event", canvas, x, canvas.height() / 2, 1)
        )
        pump()
        assert viewer.dims.current_step[0] == k
        assert series.mark.get_xdata()[0] == pytest.approx(series.places[k])
        assert f"scan_{k + 1} " in viewer.canvas.overlays.text.text
    few = [layer.name for layer in viewer.layers]
    series.switch.value = True
    assert len(viewer.layers) == len(few) + len(series.others)
    assert {"density change, g/cm3", "scan_10, 1/cm"} <= {layer.name for layer in viewer.layers}
    series.switch.value = False
    assert [layer.name for layer in viewer.layers] == few


def test_the_answer_in_3d_is_surfaces_seen_from_the_side(opened, small_series):
    viewer = opened(small_series)
    viewer.dims.ndisplay = 3
    shot = picture(viewer, "answer_3d", whole=False)
    blues = (shot[..., 2].astype(int) > shot[..., 0] + 40).mean()
    assert blues > 0.001  # what was lost
    np.testing.assert_allclose(
        viewer.camera.view_direction, np.array(answer.VIEW) / np.linalg.norm(answer.VIEW), atol=1e-3
    )
    assert not any(viewer.layers[name].visible for name in ("registered, 1/cm", "materials"))
    viewer.dims.ndisplay = 2
    pump()
    assert all(viewer.layers[name].visible for name in ("registered, 1/cm", "materials"))


def test_a_store_of_100_gb_is_opened_without_reading_it(opened, tmp_path):
    folder = viewer_store.make_sparse(tmp_path / "big.zarr")
    before = psutil.Process().memory_info().rss
    viewer = opened(folder)
    few, series = len(viewer.layers), viewer.window.dock_widgets["Series"]
    assert few + len(series.others) == 7 + 1 + 2 * 3 + 3
    series.switch.value = True
    assert viewer.layers["registered, 1/cm"].data[0].shape == (7, 1600, 1600, 1600)
    viewer.dims.set_current_step(0, 3)
    picture(viewer, "store_100_gb")
    assert psutil.Process().memory_info().rss - before < 1e9


def test_a_raw_scan_is_opened_and_turned_into_sinograms(opened, cell):
    viewer = opened(cell / "scan_00.nxs")
    before = picture(viewer, "raw_projections", whole=False)
    switch = plugin.sinogram_widget(viewer)
    viewer.window.add_dock_widget(switch, name="view")
    switch[0].value = "sinograms"
    after = picture(viewer, "raw_sinograms", whole=False)
    assert differ(after, before) > 1
    assert viewer.dims.order == (1, 0, 2)


def test_a_damaged_store_being_written_leaves_the_window_alive(opened, tmp_path, told):
    folder = viewer_store.make_store(tmp_path / "store.zarr")
    viewer_store.damage(folder, "registered")
    with Store(folder).lock():
        viewer = opened(folder)
    viewer.dims.set_current_step(0, 1)
    viewer.dims.set_current_step(0, 0)
    picture(viewer, "damaged")
    assert any("damaged data" in text for text in told())
    assert any("being written" in text for text in told())


def test_napari_finds_readers_widgets_and_sample_through_the_manifest(opened, tmp_path, monkeypatch):
    from npe2 import PluginManager, PluginManifest

    import xct_pipeline

    manager = PluginManager.instance()
    if "xct-pipeline" not in manager:
        manager.register(PluginManifest.from_file(Path(xct_pipeline.__file__).parent / "napari.yaml"))
    folder = viewer_store.make_store(tmp_path / "demo" / "store.zarr")
    viewer = opened(folder)
    viewer.layers.clear()
    viewer.open(str(folder), plugin="xct-pipeline")
    assert "registered, 1/cm" in viewer.layers
    Store(folder).write_table("reconstruction", __import__("pandas").DataFrame({"scan": ["scan_00"]}))
    monkeypatch.setattr(plugin, "demo_folder", lambda: folder.parent)
    viewer.layers.clear()
    viewer.open_sample("xct-pipeline", "demo")
    assert "materials" in viewer.layers
    for contribution in manager.get_manifest("xct-pipeline").contributions.widgets:
        _, inner = viewer.window.add_plugin_dock_widget("xct-pipeline", contribution.display_name)
        assert inner is not None
    series = viewer.window.dock_widgets["Series"].axes.figure.canvas
    canvases = [c for c in viewer.window._qt_window.findChildren(FigureCanvasQTAgg) if c is not series]
    assert len(canvases) >= 4
    assert not any(canvas.isVisible() for canvas in canvases)  # no axes where nothing is drawn yet
    picture(viewer, "all_widgets")


# ---------------------------------------------------------------------------------------------- the widgets


def test_centre_is_found_moved_seen_and_written(opened, cell):
    viewer = opened(cell / "run.toml")
    panel = panel_of(viewer, center.CenterPanel, cell / "run.toml")
    start = np.array(viewer.layers[center.LAYER].data)
    panel.search()
    idle(panel)
    assert "metric" in panel.status.value
    assert len(panel.axes.lines) == 4
    assert panel.axes.figure.canvas.isVisible()
    found = float(panel.center.value)
    assert found == pytest.approx(panel.found["scan_00"].center, abs=0.011)
    sharp = np.array(viewer.layers[center.LAYER].data)
    assert not np.array_equal(start, sharp)
    shot = picture(viewer, "centre")
    panel.center.value = found + 3
    idle(panel)
    moved = np.array(viewer.layers[center.LAYER].data)
    assert not np.array_equal(moved, sharp)
    assert differ(picture(viewer, "centre_moved"), shot) > 0.01
    panel.accept(True)
    assert f"center = {found + 3:g}" in (cell / "run.toml").read_text()
    assert "# or a column" in (cell / "run.toml").read_text()
    again = previewing.preview(load_config(cell / "run.toml"), panel.row.value, ["scan_00"])["scan_00"]
    assert np.array_equal(again, moved)


def test_centre_of_one_scan_is_accepted_beside_the_others(opened, cell):
    viewer = opened(cell / "run.toml")
    panel = panel_of(viewer, center.CenterPanel, cell / "run.toml")
    panel.scan.value = "scan_01"
    idle(panel)
    panel.center.value = 47.25
    idle(panel)
    panel.accept(False)
    idle(panel)
    first, second, third = load_config(cell / "run.toml").reconstruction.center
    assert second == 47.25
    assert abs(first - third) < 5
    panel.center.value = 46.5
    panel.accept(False)
    assert load_config(cell / "run.toml").reconstruction.center == (first, 46.5, third)


def test_stripes_and_phase_are_seen_before_and_after_and_written(opened, cell, told):
    viewer = opened(cell / "run.toml")
    panel = panel_of(viewer, chain.ChainPanel, cell / "run.toml")
    before = np.array(viewer.layers[chain.AFTER].data)
    panel.steps["stripe"].method.value = "all"
    idle(panel)
    after = np.array(viewer.layers[chain.AFTER].data)
    assert not np.array_equal(before, after)
    panel.steps["stripe"].fields["snr"].value = "2.5"
    idle(panel)
    stronger = np.array(viewer.layers[chain.AFTER].data)
    assert not np.array_equal(stronger, after)
    difference = viewer.layers[chain.DIFFERENCE].data
    assert np.allclose(difference, stronger - viewer.layers[chain.BEFORE].data)
    picture(viewer, "chain")
    panel.steps["stripe"].fields["snr"].value = "-1"
    idle(panel)
    assert any("snr" in text and "greater than 0" in text for text in told())
    panel.steps["stripe"].fields["snr"].value = "2.5"
    panel.steps["phase"].method.value = "paganin"
    idle(panel)
    assert any("delta_beta" in text for text in told())
    panel.steps["phase"].fields["delta_beta"].value = "200"
    panel.steps["phase"].fields["distance_mm"].value = "50"
    panel.filter.value = "hann"
    idle(panel)
    assert (cell / "run.toml").read_text() == CONFIG
    panel.accept()
    text = (cell / "run.toml").read_text()
    assert 'method = "all"              # look first' in text
    assert "delta_beta = 200.0" in text
    config = load_config(cell / "run.toml")
    assert (config.correction.stripe.snr, config.reconstruction.filter) == (2.5, "hann")
    again = previewing.preview(config, panel.row.value, ["scan_00"])["scan_00"]
    assert np.array_equal(again, viewer.layers[chain.AFTER].data)


def test_reconstruct_checks_runs_and_gives_the_bytes_of_the_command_line(opened, cell, tmp_path, told):
    viewer = opened(cell / "run.toml")
    panel = panel_of(viewer, reconstruct.ReconstructPanel, cell / "run.toml")
    panel.text.value = CONFIG.replace("center =", "centre =")
    panel.look()
    assert any("did you mean center" in text for text in told())
    assert not panel.save_text()
    assert (cell / "run.toml").read_text() == CONFIG
    panel.text.value = CONFIG.replace('"auto"              # or', "47.5   # not")
    panel.look()
    idle(panel)
    assert "peak memory" in panel.status.value
    panel.until.value = "reconstruction"
    panel.control.start()
    pump(lambda: panel.control.worker is None)
    assert "finished" in panel.status.value
    assert [layer.name for layer in viewer.layers if layer.visible] == ["scan_00, 1/cm"]
    picture(viewer, "reconstruct")
    other = tmp_path / "other"
    shutil.copytree(cell, other, ignore=shutil.ignore_patterns("store.zarr"))
    command_line(other / "run.toml", "--until", "reconstruction")
    ours, theirs = shards(cell / "store.zarr"), shards(other / "store.zarr")
    assert ours
    assert ours == theirs


def command_line(config, *options):
    command = [sys.executable, "-c", "from xct_pipeline.cli import main; main()", "run", str(config), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def shards(store, under="scans"):
    files = (file for file in sorted((store / under).rglob("*")) if file.is_file() and "c" in file.parts)
    found = {str(file.relative_to(store)): file.read_bytes() for file in files}
    assert found
    return found


def test_a_run_is_stopped_and_resumed_to_the_same_bytes(opened, cell, series):
    viewer = opened(cell / "run.toml")
    panel = panel_of(viewer, reconstruct.ReconstructPanel, cell / "run.toml")
    panel.until.value = "reconstruction"
    panel.control.start()
    pump(lambda: panel.control.bar.value > 0 or panel.control.worker is None)
    panel.control.halt()
    pump(lambda: panel.control.worker is None)
    assert "stopped" in panel.status.value
    panel.control.start()
    pump(lambda: panel.control.worker is None)
    assert "finished" in panel.status.value
    assert shards(cell / "store.zarr") == shards(series / "store.zarr")


def test_closing_the_window_in_the_middle_of_a_run_leaves_a_store_that_resumes(opened, cell, series):
    import threading

    viewer = opened(cell / "run.toml")
    panel = panel_of(viewer, reconstruct.ReconstructPanel, cell / "run.toml")
    panel.control.start()
    pump(lambda: panel.control.bar.value > 0 or panel.control.worker is None)
    viewer.close()
    pump(lambda: not any(thread.name == "xct run" for thread in threading.enumerate()))
    result = pipeline.run(pipeline.plan(load_config(cell / "run.toml")))
    assert not result.failed
    assert sum(passed.reused for scan in result.scans for passed in scan.passes) > 0
    assert shards(cell / "store.zarr") == shards(series / "store.zarr")


def test_register_compares_nudges_masks_and_runs_as_the_command_line(opened, finished, tmp_path, told):
    viewer = opened(finished / "store.zarr")
    panel = panel_of(viewer, register.RegisterPanel, finished / "run.toml")
    found = float(panel.status.value.split()[4])
    for box in (*panel.nudge.values(), panel.turn):
        box.value = 0
    idle(panel)
    raw = float(panel.status.value.split()[4])
    assert found < raw
    panel.source.value = register.DONE
    idle(panel)
    aligned = float(panel.status.value.split()[4])
    assert aligned < raw
    board = np.array(viewer.layers[register.BOARD].data)
    panel.nudge["y"].value = 4
    idle(panel)
    assert float(panel.status.value.split()[4]) > aligned
    assert not np.array_equal(board, viewer.layers[register.BOARD].data, equal_nan=True)
    picture(viewer, "register_nudged")
    panel.take_paint()
    assert any("nothing is painted" in text for text in told())
    panel.start_painting()
    paint = viewer.layers[register.PAINT]
    paint.data[8:56, 20:76, 20:76] = 1
    paint.refresh()
    panel.take_paint()
    idle(panel)
    assert panel.shapes == {"box": {"z": [8, 56], "y": [20, 76], "x": [20, 76]}}
    whole = viewer.layers[register.MASK].data.mean()
    assert 0.02 < whole < 0.4
    panel.low.value = 1.0
    idle(panel)
    assert 0 < viewer.layers[register.MASK].data.mean() < whole
    picture(viewer, "register_mask")
    panel.accept()
    assert load_config(finished / "run.toml").registration.mask.box.y == (20, 76)
    panel.take_painted()
    idle(panel)
    assert viewer.layers[register.MASK].data.mean() == pytest.approx(48 * 56 * 56 / (64 * 96 * 96))
    panel.source.value = register.RAW
    idle(panel)
    assert panel.nudge["x"].value != 0  # what the run found
    for axis, value in (("z", 0.0), ("y", 0.0), ("x", 0.5)):
        panel.nudge[axis].value = value
    panel.turn.value, panel.begin.value = 0.0, True
    idle(panel)
    before = Store(finished / "store.zarr").read_table("registration")
    panel.control.start()
    pump(lambda: panel.control.worker is None)
    assert any("finished" in text for text in told())
    config = load_config(finished / "run.toml")
    assert Path(config.registration.mask.painted).name == "run_mask.tif"
    assert config.registration.start["scan_02"].shift == (0.0, 0.0, 0.5)
    after = Store(finished / "store.zarr").read_table("registration")
    assert not np.array_equal(before["m03"], after["m03"])
    other = tmp_path / "other"
    shutil.copytree(finished, other, ignore=shutil.ignore_patterns("store.zarr"))
    command_line(other / "run.toml", "--until", "registration")
    assert shards(finished / "store.zarr", "registered/0") == shards(other / "store.zarr", "registered/0")


def test_segment_moves_thresholds_paints_and_runs_to_what_was_seen(opened, finished, told):
    viewer = opened(finished / "store.zarr")
    panel = panel_of(viewer, segment.SegmentPanel, finished / "run.toml")
    panel.method.method.value = "otsu"
    panel.method.fields["classes"].value = "2"
    idle(panel)
    first = np.array(viewer.layers[segment.LABELS].data)
    assert set(np.unique(first)) <= {1, 2}
    assert len(panel.thresholds) == 1
    assert len(panel.axes.lines) == 1
    panel.move_threshold(0.3)
    idle(panel)
    moved = np.array(viewer.layers[segment.LABELS].data)
    assert (moved == 2).sum() > (first == 2).sum()
    assert panel.method.method.value == "values"
    panel.method.fields["names"].value = "light, heavy"
    idle(panel)
    assert "heavy" in panel.status.value
    picture(viewer, "segment_thresholds")
    panel.accept()
    settings = load_config(finished / "run.toml").segmentation
    assert settings.thresholds == [0.3]
    assert settings.names == ["light", "heavy"]
    panel.take_paint()
    assert any("nothing is painted" in text for text in told())
    panel.start_painting()
    paint = viewer.layers[segment.PAINT]
    plane = int(panel.plane.value)
    paint.data[plane, 44:52, 44:52] = 2
    paint.data[plane, 2:8, 2:80] = 1
    paint.refresh()
    panel.take_paint()
    idle(panel)
    trained = np.array(viewer.layers[segment.LABELS].data)
    assert not np.array_equal(trained, moved)
    assert (trained[46:50, 46:50] == 2).all()
    picture(viewer, "segment_painted")
    panel.control.start()
    pump(lambda: panel.control.worker is None)
    assert "finished" in panel.status.value
    assert load_config(finished / "run.toml").segmentation.z == [plane]
    stored = open_image(Store(finished / "store.zarr").path / "registered/labels/materials")
    assert np.array_equal(np.asarray(stored[0, plane]), trained)
    assert "materials" in viewer.layers


def test_mass_of_a_drawn_region_is_measured_drawn_and_written(opened, finished, told):
    viewer = opened(finished / "store.zarr")
    panel = panel_of(viewer, mass.MassPanel, finished / "run.toml")
    assert (panel.first.value, panel.stop.value) == (24, 40)
    table = Store(finished / "store.zarr").read_table("mass_balance")
    assert np.allclose(panel.measured["mass_mg"], table["mass_change_mg"])
    panel.draw_shape("ellipse")
    idle(panel)
    middle = (96 - 1) / 2
    circle = [
        [middle - 30, middle - 30],
        [middle - 30, middle + 30],
        [middle + 30, middle + 30],
        [middle + 30, middle - 30],
    ]
    viewer.layers[mass.REGION].data = [np.array(circle)]
    idle(panel)
    drawn = panel.measured
    assert panel.region().model_dump(exclude_none=True) == {"cylinder": {"z": (24, 40), "radius": 30.0}}
    assert np.allclose(drawn["mass_mg"], table["mass_change_mg"], rtol=1e-4, atol=1e-7)
    assert (drawn["limit_mg"][1:] >= table["sigma_noise_mg"][1:]).all()
    shot = picture(viewer, "mass_circle")
    panel.draw_shape("rectangle")
    idle(panel)
    smaller = panel.measured
    assert smaller["voxels"] < drawn["voxels"]
    assert differ(picture(viewer, "mass_rectangle"), shot) > 0.01
    panel.draw_line()
    idle(panel)
    assert len(panel.lines.lines) == 3
    assert panel.twin is not None
    picture(viewer, "mass_profile")
    panel.name.value = "inner"
    panel.accept()
    config = load_config(finished / "run.toml")
    assert config.variation.regions["inner"].box.z == (24, 40)
    panel.control.start()
    pump(lambda: panel.control.worker is None)
    totals = Store(finished / "store.zarr").read_table("region_totals")
    assert np.allclose(totals["mass_change_mg"], smaller["mass_mg"], rtol=1e-4, atol=1e-7)
    panel.stop.value = panel.first.value
    idle(panel)
    assert any("are none" in text for text in told())


def test_electrochemistry_is_drawn_as_in_the_report_and_follows_the_slider(opened, small_series):
    from small_series import SCANS

    from xct_pipeline.report import echem as figures

    viewer = opened(small_series)
    panel = panel_of(viewer, echem.EchemPanel, small_series.parent / "run.toml")
    viewer.window.dock_widgets["tested Electrochemistry"].native.parent().raise_()
    tables = {name: Store(small_series).read_table(name) for name in ("cycler", "impedance", "cycling", "voltammetry")}
    assert tuple(panel.choice.choices) == tuple(figures.CHARTS)
    last = None
    for name in figures.CHARTS:
        panel.choice.value = name
        shot = picture(viewer, f"echem_{name.split()[0].lower()}")
        assert last is None or differ(shot, last) > 0.05, name
        last = shot
    panel.choice.value = "Log"
    voltage, charge = panel.axes
    np.testing.assert_allclose(voltage.lines[0].get_ydata(), tables["cycler"]["voltage_V"])
    np.testing.assert_allclose(charge.lines[0].get_ydata(), tables["cycler"]["charge_C"])
    assert [text.get_text() for text in voltage.texts] == list(SCANS)
    times = Store(small_series).read_table("mass_balance")["time_s"] / 3600
    for k in (3, 10):
        viewer.dims.set_current_step(0, k)
        pump()
        assert [line.get_xdata()[0] for line in panel.line] == pytest.approx([times[k]] * 2)
    panel.choice.value = "Impedance"
    first = tables["impedance"][tables["impedance"]["spectrum"] == tables["impedance"]["spectrum"][0]]
    np.testing.assert_allclose(panel.axes[0].lines[0].get_xdata(), first["real_ohm"])
    np.testing.assert_allclose(panel.axes[1].lines[0].get_xdata(), first["frequency_Hz"])
    assert panel.line == []  # no axis of time
    panel.choice.value = "Cycling"
    np.testing.assert_allclose(panel.axes[0].lines[0].get_ydata(), tables["cycling"]["charge_C"] / 3.6)
    panel.choice.value = "Voltammetry"
    assert len(panel.axes[0].lines) == tables["voltammetry"]["cycle"].nunique()
    panel.choice.value = "Relaxation times"
    assert len(panel.axes[-1].collections) == 1
    viewer.dims.set_current_step(0, 5)
    pump()
    assert [line.get_xdata()[0] for line in panel.line] == pytest.approx([times[5]] * len(panel.axes))


def test_every_widget_begins_with_what_the_run_found(opened, small_series):
    from qtpy.QtWidgets import QAbstractSpinBox, QLineEdit, QTabBar

    viewer = opened(small_series)
    table = Store(small_series).read_table("reconstruction").set_index("scan")
    first = {
        "Centre": f"{table.loc['scan_1', 'center']:.3f} +- ",
        "Stripes and phase": "root mean square of the difference",
        "Reconstruct": "scan_11: 40 x 48 x 48 1/cm",
        "Register": "% of the volume|root mean square difference",  # whichever is found last
        "Segment": "gas ",
        "Mass variation": "configured region, scan_11: \N{MINUS SIGN}",
        "Electrochemistry": "",
    }
    assert set(first) == {kind.title for kind in docks.PANELS}
    for title, words in first.items():
        panel = viewer.window.dock_widgets[title]
        panel.native.parent().raise_()
        idle(panel)
        assert any(said in panel.status.value for said in words.split("|")), title
        for field in panel.native.findChildren(QLineEdit):  # those of boxes of numbers too
            text = field.text()
            box = field.parent() if isinstance(field.parent(), QAbstractSpinBox) else None
            if box is not None and field.isVisible():
                assert field.fontMetrics().horizontalAdvance(text) <= field.width(), (title, text, field.width())
        picture(viewer, f"first_{title.split()[0].lower()}")
    begins = tuple(kind.draws for kind in docks.PANELS if kind.draws)
    drawn = {layer.name for layer in viewer.layers if layer.name.startswith(begins)}
    assert {"centre: slice", "chain: after", "register: checkerboard", "segment: labels"} <= drawn
    assert not any(viewer.layers[name].visible for name in drawn)  # another tab is looked at: the answer is not covered
    viewer.window.dock_widgets["Segment"].native.parent().raise_()
    pump(lambda: viewer.layers["segment: labels"].visible)
    assert {name for name in drawn if viewer.layers[name].visible} == {"segment: labels"}
    centre, mass_tab = (viewer.window.dock_widgets[title] for title in ("Centre", "Mass variation"))
    assert centre.center.value == pytest.approx(table.loc["scan_1", "center"], abs=0.006)
    assert len(centre.axes.lines) == 4
    assert len(mass_tab.measured["mass_mg"]) == 11
    assert any(viewer.window.dock_widgets["Register"].nudge[axis].value for axis in "zyx")
    names = [bar for bar in viewer.window._qt_window.findChildren(QTabBar) if bar.count() == len(docks.PANELS)]
    assert [names[0].tabText(k) for k in range(names[0].count())] == list(first)
    assert all(
        names[0].tabRect(k).height() >= names[0].fontMetrics().horizontalAdvance(names[0].tabText(k))
        for k in range(names[0].count())
    )


def test_widgets_without_a_usable_configuration_say_so(opened, cell, told):
    viewer = opened(cell / "run.toml")
    for kind in docks.PANELS:
        panel = panel_of(viewer, kind, None)
        panel.refresh()
        assert "choose a configuration" in panel.status.value
    (cell / "run.toml").write_text("output = 3")
    panel = panel_of(viewer, center.CenterPanel, cell / "run.toml")
    assert any("2 errors" in text for text in told())
    picture(viewer, "no_configuration")


def test_tabs_read_the_configuration_when_they_are_looked_at(opened, finished):
    viewer = opened(finished / "store.zarr")
    panel = viewer.window.dock_widgets["Mass variation"]
    assert panel.measured == {}
    panel.native.parent().raise_()
    pump(lambda: len(panel.measured) > 0)
    assert panel.stop.value == 40
    picture(viewer, "tab")


def test_every_widget_names_the_scans_of_a_long_series_in_order_of_time(opened, small_series):
    from small_series import SCANS, TIMES_S

    from xct_pipeline.viewer.times import duration

    viewer = opened(small_series)
    for k in (1, 8, 9, 10):
        viewer.dims.set_current_step(0, k)
        pump()
        assert viewer.canvas.overlays.text.text.splitlines()[0] == f"{SCANS[k]}   {duration(TIMES_S[k])}"
    config = small_series.parent / "run.toml"
    panel = panel_of(viewer, segment.SegmentPanel, config)
    assert tuple(panel.scan.choices) == SCANS
    panel = panel_of(viewer, register.RegisterPanel, config)
    assert (tuple(panel.fixed.choices), panel.moving.value) == (SCANS, "scan_11")
    panel = panel_of(viewer, mass.MassPanel, config)
    assert tuple(panel.measured["scans"]) == SCANS
    assert np.allclose(panel.measured["time_s"], TIMES_S)
    panel.draw_line()
    idle(panel)
    assert tuple(line.get_label() for line in panel.lines.get_lines()) == SCANS
