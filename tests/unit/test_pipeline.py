"""The public names, what a plan says before anything is computed, and the import's weight."""

from __future__ import annotations

import pkgutil
import shutil

import pytest
from command import write_config

import xct_pipeline
from xct_pipeline import Resources, load_config, open_table, plan, run
from xct_pipeline.engine.resources import BASE_BYTES
from xct_pipeline.planning import preview as previewing
from xct_pipeline.scan import ScanError
from xct_pipeline.simulation.beamline import SimulationSettings
from xct_pipeline.simulation.simulate import simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cell")
    simulate(folder, settings=SimulationSettings(scans=1, columns=64, rows=32, angles=31), seed=1)
    return folder


def test_public_names_exist():
    assert xct_pipeline.__all__ == sorted(xct_pipeline.__all__)
    for name in xct_pipeline.__all__:
        assert getattr(xct_pipeline, name) is not None
    modules = {module.name for module in pkgutil.iter_modules(xct_pipeline.__path__)}
    assert not modules & set(xct_pipeline.__all__)  # once imported, a module would hide the name
    with pytest.raises(AttributeError, match="no attribute magic"):
        xct_pipeline.magic  # noqa: B018


def test_plan_is_pure_and_counts(folder):
    config = load_config(write_config(folder))
    layout = plan(config, Resources(2, 10**10))
    (item,) = layout.good
    assert item.passes[-1].image.shape == (32, 64, 64)
    assert [op.name for op in item.passes[-1].ops] == [
        "zinger.median",
        "flatfield",
        "stripe.defects",
        "reconstruction.fourier",
    ]
    assert BASE_BYTES < layout.memory_bytes < 2 * BASE_BYTES
    assert [stage.stage for stage in layout.stages] == ["reconstruction"]
    assert layout.disk_bytes >= 32 * 64 * 64 * 4
    assert not config.store_path.exists()


def test_phase_retrieval_stores_projections(folder):
    tables = {"correction.phase": 'method = "paganin"\ndelta_beta = 100.0'}
    first, second = plan(load_config(write_config(folder, tables)), Resources(2, 10**10)).good[0].passes
    assert first.image.axes == ("angle", "row", "column")
    assert second.inputs["projections"]


def test_unknown_stage_and_centres_of_the_wrong_number(folder):
    with pytest.raises(ValueError, match="stages are reconstruction, registration"):
        plan(load_config(write_config(folder)), until="mass")
    config = load_config(write_config(folder, {"reconstruction": "center = [1.0, 2.0]"}))
    with pytest.raises(ScanError, match="2 columns for 1 scans"):
        plan(config)


def test_slices_at_centers_is_preview_without_stripe_removal(folder):
    config = load_config(
        write_config(folder, {"correction.stripe": 'method = "none"', "reconstruction": "center = 31"})
    )
    tried = previewing.slices_at_centers(config, 16, {"scan_00": [31.0, 33.0]})["scan_00"]
    assert (tried[0] == previewing.preview(config, 16)["scan_00"]).all()
    assert (tried[1] != tried[0]).any()


def test_preview_of_one_scan_takes_its_own_centre(folder, tmp_path):
    for name in ("scan_00", "scan_01"):
        shutil.copy(folder / "scan_00.nxs", tmp_path / f"{name}.nxs")
    tables = {"correction.stripe": 'method = "none"', "reconstruction": "center = [31, 33]"}
    config = load_config(write_config(tmp_path, tables))
    alone = previewing.preview(config, 16, ["scan_01"])["scan_01"]
    assert (alone == previewing.slices_at_centers(config, 16, {"scan_01": [33.0]})["scan_01"][0]).all()


def test_a_sample_wider_than_the_detector_is_told(folder, tmp_path):
    shutil.copy(folder / "scan_00.nxs", tmp_path / "scan_00.nxs")
    tables = {
        "acquisition": "columns = [16, 48]",
        "correction.stripe": 'method = "none"',
        "reconstruction": "center = 32",
    }
    result = run(plan(load_config(write_config(tmp_path, tables)), until="reconstruction"))
    (scan,) = result.scans
    counted = scan.passes[-1].counts["truncated_rows"]
    assert counted > 0
    assert any(f"beyond the detector in {counted} of 32 rows" in text for text in scan.warnings)
    assert open_table(result.store.path, "reconstruction").truncated_rows.tolist() == [counted]
    whole = write_config(tmp_path, {**tables, "acquisition": ""}, output="whole.zarr")
    assert run(plan(load_config(whole), until="reconstruction")).scans[0].passes[-1].counts["truncated_rows"] == 0
