"""Volumes are the same to the last bit whatever shards, workers, rows or memory a run was given."""

from __future__ import annotations

import numpy as np
import pytest
from command import shards, shell, write_config, xct
from conftest import link_scans

from xct_pipeline import load_config, open_volume, preview
from xct_pipeline.engine.rounding import voxel_noise

NAMES = ("scan_00", "scan_01")
EXACT = {"store": 'precision = "float32"'}  # a part of a volume has noise of its own, and so steps of its own


@pytest.fixture(scope="module")
def volumes(finished):
    return {name: open_volume(finished / "store.zarr", name).values for name in NAMES}


@pytest.fixture(scope="module")
def exact(series, tmp_path_factory):
    """Return a folder that was run with all digits kept."""
    folder = tmp_path_factory.mktemp("exact")
    link_scans(series, folder)
    ended = shell("run", write_config(folder, EXACT))
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="module")
def all_digits(exact):
    return {name: open_volume(exact / "store.zarr", name).values for name in NAMES}


def assert_equal(store, volumes, first=0, stop=None):
    for name, volume in volumes.items():
        np.testing.assert_array_equal(open_volume(store, name).values, volume[first:stop])


def test_one_worker(capsys, work, volumes):
    assert xct(capsys, "run", work / "run.toml", "--workers", "1").code == 0
    assert_equal(work / "store.zarr", volumes)


@pytest.mark.parametrize("rows", [(0, 5), (13, 35), (31, 48)])
def test_rows(capsys, work, all_digits, rows):
    config = write_config(work, EXACT)
    assert xct(capsys, "run", config, "--rows", f"{rows[0]}:{rows[1]}").code == 0
    assert_equal(work / "store.zarr", all_digits, *rows)
    z = open_volume(work / "store.zarr", "scan_00").z.values
    np.testing.assert_allclose(z, 10.0 * np.arange(*rows))  # coordinates are those of the detector's rows


def test_what_is_rounded_is_what_was_computed_to_a_share_of_its_noise(capsys, work, volumes, all_digits):
    assert xct(capsys, "run", work / "run.toml", "--rows", "13:35").code == 0
    for name, exact in all_digits.items():
        noise = voxel_noise(exact)
        for rounded in (volumes[name][13:35], open_volume(work / "store.zarr", name).values):
            assert np.abs(rounded - exact[13:35]).max() <= 0.2 * noise  # half a step, where noise is highest
            assert len(np.unique(rounded)) < 0.01 * rounded.size


def test_thickness(capsys, work, volumes, monkeypatch):
    from xct_pipeline.reconstruction.steps import stage

    monkeypatch.setattr(stage, "shard_thickness", lambda shape: 48)
    assert xct(capsys, "run", work / "run.toml").code == 0
    assert len(shards(work / "store.zarr", "scans/scan_00/volume/0")) == 1
    assert_equal(work / "store.zarr", volumes)
    monkeypatch.undo()  # another grid is another image: nothing of it is continued
    facts = xct(capsys, "run", work / "run.toml", "--json").json
    assert all(image["reused"] == 0 for scan in facts["scans"] for image in scan["images"].values())
    assert len(shards(work / "store.zarr", "scans/scan_00/volume/0")) == 3
    assert_equal(work / "store.zarr", volumes)


@pytest.mark.parametrize(("first", "then"), [(1, 4), (4, 1), (2, 3)])
def test_a_run_is_continued_with_other_workers_and_memory(capsys, done, volumes, first, then):
    """The grid of shards follows from shapes alone: what one run left, another goes on with."""
    write_config(done, {"reconstruction": 'center = "auto"\nfilter = "hann"'})
    run = ("run", done / "run.toml", "--json")
    assert xct(capsys, *run, "--workers", first, "--memory", "3GB").code == 0
    markers = sorted((done / "store.zarr/.xct/markers/scans").rglob("?_0_0.json"))
    for file in markers[::2]:
        file.unlink()
    facts = xct(capsys, *run, "--workers", then, "--memory", "8GB").json
    images = [image for scan in facts["scans"] for image in scan["images"].values()]
    assert sum(image["computed"] for image in images) == len(markers[::2])
    write_config(done)
    assert xct(capsys, *run, "--workers", then, "--memory", "2GB").code == 0
    assert_equal(done / "store.zarr", volumes)


def test_preview_is_a_slice_of_the_volume(work, all_digits, exact):
    for folder in (work, exact):  # without a store, and with its cached estimates
        for z in (0, 17, 47):
            slices = preview(load_config(folder / "run.toml"), z)
            for name in NAMES:
                np.testing.assert_array_equal(slices[name], all_digits[name][z])
    assert not (work / "store.zarr").exists()


def test_processes_of_a_cluster(work, finished):
    ended = shell("run", work / "run.toml", "--cluster", "local:2")
    assert ended.code == 0, ended.err
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")


@pytest.mark.parametrize("stripe", ["all", "sorting", "fourier_wavelet", "titarenko", "none"])
def test_rows_with_other_stripe_methods(capsys, work, stripe):
    config = write_config(
        work, {"correction.stripe": f'method = "{stripe}"', "reconstruction": "center = 49.0", **EXACT}
    )
    assert xct(capsys, "run", config, "--rows", "8:40").code == 0
    whole = {name: open_volume(work / "store.zarr", name).values for name in NAMES}
    assert xct(capsys, "run", config, "--rows", "21:23").code == 0
    assert_equal(work / "store.zarr", whole, 13, 15)


def test_stored_projections_give_the_same_rows(capsys, work):
    tables = {"correction.phase": 'method = "paganin"\ndelta_beta = 100.0', "reconstruction": "center = 49.0"}
    config = write_config(work, tables | EXACT)
    assert xct(capsys, "run", config).code == 0
    whole = {name: open_volume(work / "store.zarr", name).values for name in NAMES}
    slices = preview(load_config(config), 30)
    for name in NAMES:
        np.testing.assert_array_equal(slices[name], whole[name][30])
    assert xct(capsys, "run", config, "--rows", "20:35").code == 0
    assert_equal(work / "store.zarr", whole, 20, 35)


def test_binning_and_columns(capsys, work):
    config = write_config(work, {"acquisition": "binning = 2\ncolumns = [4, 94]", **EXACT})
    assert xct(capsys, "run", config).code == 0
    volume = open_volume(work / "store.zarr", "scan_00")
    assert volume.shape == (24, 45, 45)
    assert volume.x.values[1] - volume.x.values[0] == pytest.approx(20)
    np.testing.assert_array_equal(preview(load_config(config), 11, ["scan_00"])["scan_00"], volume.values[11])
