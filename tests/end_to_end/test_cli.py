"""The commands as a user types them: what they print, write and return."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from command import shell, write_config, xct

from xct_pipeline import open_volume

COMMANDS = ("init", "check", "center", "run", "preview", "info", "simulate", "demo", "export")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_gives_an_example(capsys, command):
    ended = xct(capsys, command, "--help")
    assert ended.code == 0
    assert f"Example: xct {command}" in ended.out


def test_help_imports_nothing_heavy():
    heavy = ("numba", "dask", "zarr", "scipy", "pandas", "h5py")
    told = f"print('LOADED', *(m for m in {heavy} if m in sys.modules))"
    called = "from xct_pipeline.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    for code in ("import sys, xct_pipeline\n", f"import sys\nsys.argv = ['xct', '--help']\n{called}"):
        ended = subprocess.run([sys.executable, "-c", code + told], capture_output=True, text=True, check=True)
        assert ended.stdout.splitlines()[-1].strip() == "LOADED"


def test_init_writes_what_the_files_know(capsys, series, tmp_path):
    files = sorted(series.glob("*.nxs"))
    ended = xct(capsys, "init", *files, "-o", tmp_path / "run.toml")
    assert ended.code == 0
    text = (tmp_path / "run.toml").read_text()
    assert "pixel_size_um = 10" in text
    assert "energy_keV = 50" in text
    assert "61 projections of 48 x 96, 40 flats, 10 darks" in text
    assert [(tmp_path / name).resolve() for name in tomllib.loads(text)["acquisition"]["scans"]] == files
    assert xct(capsys, "check", tmp_path / "run.toml").code == 0
    again = xct(capsys, "init", *files, "-o", tmp_path / "run.toml")
    assert again.code == 1
    assert "exists" in again.err


def test_init_says_that_flats_are_missing(capsys, series, tmp_path):
    (tmp_path / "a.nxs").write_bytes((series / "scan_00.nxs").read_bytes())
    with h5py.File(tmp_path / "a.nxs", "r+") as file:
        key = file["entry/instrument/detector/image_key"]
        key[...] = np.where(key[...] == 1, 3, key[...])
    ended = xct(capsys, "init", tmp_path / "a.nxs")
    assert ended.code == 0
    assert 'flats = "none"' in ended.out
    assert "0 flats, 10 darks" in ended.out


def test_check_tells_facts_and_costs(capsys, work):
    ended = xct(capsys, "check", work / "run.toml", "--json")
    assert ended.code == 0
    facts = ended.json
    assert [scan["facts"]["projections"] for scan in facts["scans"]] == [61, 61]
    assert facts["scans"][0]["facts"]["flats"] == 40
    assert facts["scans"][0]["passes"][-1]["shape"] == [48, 96, 96]
    assert facts["memory_predicted"] < facts["memory_limit"]
    assert facts["disk_bytes"] > 2 * 48 * 96 * 96 * 4
    plain = xct(capsys, "check", work / "run.toml")
    assert "flatfield, stripe.defects, reconstruction.fourier" in plain.out
    assert "61 x 48 x 96" in plain.out
    assert not (work / "store.zarr").exists()  # check writes nothing


def test_run_prints_a_table_and_json(capsys, done):
    again = xct(capsys, "run", done / "run.toml")
    assert (again.code, again.out.count("\n")) == (0, 1)
    assert "nothing was to be done" in again.out
    (done / "store.zarr" / "tables" / "reconstruction.csv").unlink()
    plain = xct(capsys, "run", done / "run.toml")
    assert plain.code == 0
    assert "scan_01" in plain.out
    assert "finished" in plain.out
    facts = xct(capsys, "run", done / "run.toml", "--json").json
    assert [scan["problem"] for scan in facts["scans"]] == [None, None]
    assert (done / "store.zarr" / "run.log").read_text().count("flats, air and centre") >= 2


def test_given_centre_has_no_uncertainty_and_json_stays_valid(capsys, work):
    write_config(work, {"reconstruction": "center = 49.0"})
    ended = xct(capsys, "run", work / "run.toml", "--rows", "16:17", "--json")
    assert ended.code == 0
    assert "NaN" not in ended.out
    assert ended.json["scans"][0]["center"] | {"sigma": None} == ended.json["scans"][0]["center"]


def test_center_draws_a_contact_sheet(capsys, done):
    ended = xct(capsys, "center", done / "run.toml", "--json", "-o", done / "sheet.png")
    assert ended.code == 0
    for found in ended.json.values():
        assert 45 < found["center"] < 52
        assert found["sigma"] < 0.2
        assert abs(found["agreement"]) < 1
    assert (done / "sheet.png").read_bytes()[1:4] == b"PNG"
    one = xct(capsys, "center", done / "run.toml", "--scan", "scan_01")
    assert one.code == 0
    assert "scan_00" not in one.out
    assert (done / "run_center.png").exists()


def test_preview_draws_slices(capsys, done):
    ended = xct(capsys, "preview", done / "run.toml", "--z", "20")
    assert ended.code == 0
    assert (done / "run_preview.png").stat().st_size > 10_000


def test_info_of_scan_and_store(capsys, done):
    scan = xct(capsys, "info", done / "scan_00.nxs", "--json").json
    assert (scan["projections"], scan["flats"], scan["darks"]) == (61, 40, 10)
    assert scan["energy_keV"] == 50
    store = xct(capsys, "info", done / "store.zarr", "--json").json
    assert store["images"]["scans/scan_00/volume"]["unit"] == "1/cm"
    assert "reconstruction" in store["tables"]
    assert "1/cm" in xct(capsys, "info", done / "store.zarr").out


def test_export_keeps_values_and_voxel_size(capsys, done):
    assert xct(capsys, "export", done / "store.zarr", "--format", "tiff", "--scan", "scan_00").code == 0
    volume = open_volume(done / "store.zarr", "scan_00").values
    files = sorted((done / "store_export" / "scan_00").glob("*.tif"))
    np.testing.assert_array_equal(np.stack([tifffile.imread(f) for f in files]), volume)
    with tifffile.TiffFile(files[0]) as tiff:
        assert tiff.pages[0].tags["XResolution"].value == (1000, 1)  # 10 um are 1000 per cm
    assert xct(capsys, "export", done / "store.zarr", "--format", "hdf5", "-o", done / "h5").code == 0
    with h5py.File(done / "h5" / "scan_01.h5") as file:
        assert file["volume"].attrs["units"] == "1/cm"
        assert file["volume"].attrs["voxel_size_um"] == 10
        np.testing.assert_array_equal(file["volume"][...], open_volume(done / "store.zarr", "scan_01").values)
    missing = xct(capsys, "export", done / "store.zarr", "--scan", "scan_07")
    assert missing.code == 1
    assert "scan_07" in missing.err
    assert "scan_00, scan_01" in missing.err


def test_registration_takes_a_painted_mask_and_a_start(capsys, done):
    def run(start: float) -> Any:
        lines = (
            f'mask = {{ painted = "mask.tif" }}\nstart = {{ scan_01 = {{ shift = [0, 0, {start}] }} }}\nmax_shift = 5.0'
        )
        write_config(done, {"registration": lines})
        return xct(capsys, "run", done / "run.toml", "--until", "registration")

    lacking = run(0.0)
    assert lacking.code == 1
    assert "mask.tif" in lacking.err
    paint = np.zeros(open_volume(done / "store.zarr", "scan_00").shape, np.uint8)
    paint[8:-8, 12:-12, 12:-12] = 2
    tifffile.imwrite(done / "mask.tif", paint, photometric="minisblack")
    assert run(0.0).code == 0
    lost = run(30.0)
    assert lost.code == 3
    assert "scan_01" in lost.out


def test_relative_paths_start_at_the_configuration(done, tmp_path):
    ended = shell("run", "done/run.toml", "--json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    images = [image for scan in ended.json["scans"] for image in scan["images"].values()]
    assert [image["computed"] for image in images] == [0, 0]


def test_a_moved_experiment_is_still_the_same(capsys, done):
    moved = done.rename(done.with_name("moved"))
    facts = xct(capsys, "run", moved / "run.toml", "--json").json
    assert all(image["computed"] == 0 for scan in facts["scans"] for image in scan["images"].values())
