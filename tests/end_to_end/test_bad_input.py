"""Whatever is wrong with the input: one clear message, the right exit code, nothing half-written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess

import h5py
import numpy as np
import pytest
from command import write_config, xct

from xct_pipeline import open_volume
from xct_pipeline.engine import execution

DETECTOR = "entry/instrument/detector"


@pytest.fixture
def raw(work):
    """A folder whose first scan may be changed; the second stays good."""
    file = work / "scan_00.nxs"
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data)
    return file


def change(file, function):
    with h5py.File(file, "r+") as opened:
        function(opened)


def put(file, name, values):
    def replace(opened):
        attributes = dict(opened[name].attrs)
        del opened[name]
        opened[name] = values
        opened[name].attrs.update(attributes)

    change(file, replace)


def truncated(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def foreign(file):
    file.write_text("not a scan")


def dangling(file):
    def link(opened):
        del opened[f"{DETECTOR}/data"]
        opened[f"{DETECTOR}/data"] = h5py.ExternalLink("gone.h5", "/frames")

    change(file, link)


def virtual(file):
    def link(opened):
        shape = opened[f"{DETECTOR}/data"].shape
        del opened[f"{DETECTOR}/data"]
        layout = h5py.VirtualLayout(shape, "u2")
        layout[:] = h5py.VirtualSource("gone.h5", "frames", shape)
        opened.create_virtual_dataset(f"{DETECTOR}/data", layout)

    change(file, link)


def keys(file):
    with h5py.File(file) as opened:
        return opened[f"{DETECTOR}/image_key"][...]


def angles(file):
    with h5py.File(file) as opened:
        return opened["entry/sample/rotation_angle"][...]


def fewer_angles(file):
    put(file, "entry/sample/rotation_angle", angles(file)[:-3])


def no_projections(file):
    put(file, f"{DETECTOR}/image_key", np.where(keys(file) == 0, 3, keys(file)))


def no_flats(file):
    put(file, f"{DETECTOR}/image_key", np.where(keys(file) == 1, 3, keys(file)))


def no_darks(file):
    put(file, f"{DETECTOR}/image_key", np.where(keys(file) == 2, 3, keys(file)))


def nan_angles(file):
    found = angles(file)
    found[np.flatnonzero(keys(file) == 0)[5]] = np.nan
    put(file, "entry/sample/rotation_angle", found)


def two_angles(file):
    key = keys(file)
    key[np.flatnonzero(key == 0)[2:]] = 3
    put(file, f"{DETECTOR}/image_key", key)


def frames(file, kind, value):
    def write(opened):
        data = opened[f"{DETECTOR}/data"]
        for k in np.flatnonzero(opened[f"{DETECTOR}/image_key"][...] == kind):
            frame = data[k]
            frame[:3] = value
            data[k] = frame if value is not None else 0

    change(file, write)


def saturated_flats(file):
    frames(file, 1, 65535)


def empty_flats(file):
    frames(file, 1, 0)


def exchanged(file):
    put(file, f"{DETECTOR}/image_key", np.array([0, 2, 1, 3])[keys(file)])


CASES = {
    "missing": (lambda file: file.unlink(), ["scan_00.nxs", "no such file"]),
    "truncated": (truncated, ["scan_00.nxs", "truncated"]),
    "foreign": (foreign, ["scan_00.nxs", "not an HDF5 file"]),
    "dangling link": (dangling, ["scan_00.nxs", "gone.h5", "missing"]),
    "virtual source": (virtual, ["scan_00.nxs", f"/{DETECTOR}/data", "gone.h5", "zeros"]),
    "angles": (fewer_angles, ["scan_00.nxs", "angle"]),
    "no projections": (no_projections, ["scan_00.nxs", "no projections"]),
    "no flats": (no_flats, ["scan_00.nxs", 'flats = "none"', "[acquisition]"]),
    "no darks": (no_darks, ["scan_00.nxs", 'darks = "none"', "[acquisition]"]),
    "nan angles": (nan_angles, ["scan_00.nxs", "not numbers", "projection 5"]),
    "two angles": (two_angles, ["scan_00.nxs", "three angles"]),
}
WHEN_READ = {
    "saturated flats": (saturated_flats, ["scan_00.nxs", "saturated", "%"]),
    "empty flats": (empty_flats, ["scan_00.nxs", "zero", "%"]),
    "exchanged": (exchanged, ["scan_00.nxs", "no brighter than the darks"]),
}


@pytest.mark.parametrize("case", CASES)
def test_only_scan_is_bad(capsys, raw, case):
    spoil, words = CASES[case]
    spoil(raw)
    config = write_config(raw.parent, scans='["scan_00.nxs"]')
    for command in ("check", "run"):
        ended = xct(capsys, command, config)
        assert ended.code == 1
        assert len(ended.err.strip().splitlines()) == 1
        assert all(word in ended.err for word in words), ended.err
    assert not (raw.parent / "store.zarr").exists()


@pytest.mark.parametrize("case", WHEN_READ)
def test_only_scan_has_bad_flats(capsys, raw, case):
    spoil, words = WHEN_READ[case]
    spoil(raw)
    ended = xct(capsys, "run", write_config(raw.parent, scans='["scan_00.nxs"]'))
    assert ended.code == 1
    assert all(word in ended.out for word in words), ended.out + ended.err
    assert not (raw.parent / "store.zarr/scans").exists()


@pytest.mark.parametrize("case", ["no flats", "truncated", "exchanged"])
def test_bad_scan_of_several(capsys, raw, finished, case):
    spoil, words = {**CASES, **WHEN_READ}[case]
    spoil(raw)
    shutil.copy2(raw.with_name("scan_01.nxs"), raw.with_name("scan_02.nxs"))
    ended = xct(capsys, "run", write_config(raw.parent, {"correction.stripe": 'method = "none"'}))
    assert ended.code == 3
    assert all(word in ended.out for word in words), ended.out
    assert "1 of 3 scans failed, the others are finished" in ended.out
    for name in ("scan_01", "scan_02"):
        assert np.isfinite(open_volume(raw.parent / "store.zarr", name).values).all()
    assert not (raw.parent / "store.zarr/scans/scan_00").exists()
    table = (raw.parent / "store.zarr/tables/reconstruction.csv").read_text()
    assert len(table.splitlines()) == 4
    assert words[-1] in table


def test_torn_chunk_in_the_middle_of_a_scan(capsys, raw):
    """A frame that cannot be decompressed fails its scan, not the others."""

    def spoil(opened):
        data = opened[f"{DETECTOR}/data"][...]
        del opened[f"{DETECTOR}/data"]
        stored = opened.create_dataset(f"{DETECTOR}/data", data=data, chunks=(1, *data.shape[1:]), compression="gzip")
        stored.attrs["interpretation"] = "image"

    change(raw, spoil)
    with h5py.File(raw) as opened:
        middle = int(np.flatnonzero(keys(raw) == 0)[30])
        chunk = opened[f"{DETECTOR}/data"].id.get_chunk_info_by_coord((middle, 0, 0))
    with raw.open("r+b") as file:
        file.seek(chunk.byte_offset + 10)
        file.write(b"\xff" * 200)
    ended = xct(capsys, "run", raw.with_name("run.toml"))
    assert ended.code == 3, ended.out + ended.err
    assert "scan_00.nxs" in ended.out
    assert np.isfinite(open_volume(raw.parent / "store.zarr", "scan_01").values).all()


def test_going_without_flats_and_darks(capsys, raw):
    no_flats(raw)
    no_darks(raw)
    tables = {"acquisition": 'flats = "none"\ndarks = "none"', "correction.stripe": 'method = "none"'}
    ended = xct(capsys, "run", write_config(raw.parent, tables, scans='["scan_00.nxs"]'))
    assert ended.code in (0, 1)  # counts without flats are no transmission; what is not reconstructed is said
    assert ended.code == 0 or "scan_00" in ended.out


def test_few_degrees_are_a_warning(capsys, raw):
    put(raw, "entry/sample/rotation_angle", angles(raw) * 0.8)
    ended = xct(capsys, "check", write_config(raw.parent, scans='["scan_00.nxs"]'))
    assert ended.code == 0
    assert "less than 170" in ended.out


def test_unknown_pixel_size(capsys, raw):
    change(raw, lambda opened: [opened.pop(f"{DETECTOR}/{axis}_pixel_size", None) for axis in "xy"])
    exact = {"store": 'precision = "float32"'}
    config = write_config(raw.parent, {"reconstruction": "center = 49.0"} | exact, scans='["scan_00.nxs"]')
    ended = xct(capsys, "run", config, "--rows", "20:22")
    assert ended.code == 0
    assert "no pixel size known" in ended.out
    volume = open_volume(raw.parent / "store.zarr", "scan_00").load()
    assert volume.attrs["units"] == "1/pixel"
    tables = {"reconstruction": "center = 49.0", "acquisition": "pixel_size_um = 10"}
    config = write_config(raw.parent, tables | exact, scans='["scan_00.nxs"]')
    assert xct(capsys, "run", config, "--rows", "20:22").code == 0
    scaled = open_volume(raw.parent / "store.zarr", "scan_00")
    assert scaled.attrs["units"] == "1/cm"
    np.testing.assert_allclose(scaled.values, volume.values * 1000, rtol=1e-5, atol=1e-3)


def test_every_error_of_a_configuration_at_once(capsys, tmp_path):
    (tmp_path / "run.toml").write_text(
        'output = "s.zarr"\nseeds = 1\n[acquisition]\nscan = ["a.nxs"]\nrows = [9, 3]\nbinning = "two"\n'
        '[correction.stripe]\nmethod = "defect"\n[correction.zinger]\nmethod = "median"\ntreshold = 0.1\n'
        '[reconstruction]\nfilter = "hanning"\ncentre = 3\ncutoff = 1.5\n'
    )
    ended = xct(capsys, "check", tmp_path / "run.toml")
    assert ended.code == 1
    for words in (
        "seeds: unknown key; did you mean seed?",
        "acquisition.scan: unknown key; did you mean scans?",
        "binning",
        "did you mean defects?",
        "treshold: unknown key; did you mean threshold?",
        "reconstruction.filter",
        "reconstruction.centre: unknown key; did you mean center?",
        "reconstruction.cutoff",
    ):
        assert words in ended.err, (words, ended.err)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"reconstruction": "center = 400"}, ["center = 400", "outside the detector"]),
        ({"reconstruction": "center = [1, 2, 3]"}, ["3 columns for 2 scans"]),
        ({"reconstruction": 'center = "middle"'}, ["center", '"auto"']),
        ({"acquisition": "rows = [40, 60]"}, ["rows 40:60", "48 rows"]),
        ({"acquisition": "columns = [40, 600]"}, ["columns 40:600", "96 columns"]),
        ({"acquisition": "pixel_size_um = -1"}, ["pixel_size_um"]),
        ({"reconstruction": 'method = "astro"'}, ["astro", "astra"]),
    ],
)
def test_wrong_values(capsys, work, tables, words):
    ended = xct(capsys, "run", write_config(work, tables))
    assert ended.code == 1
    assert all(word in ended.err for word in words), ended.err
    assert not (work / "store.zarr").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--rows", "5:3"], 1, "first < stop"),
        (["--rows", "0:900"], 1, "48 rows"),
        (["--memory", "10MB"], 2, "raise --memory"),
        (["--memory", "0GB"], 1, "8GB"),
        (["--memory", "much"], 1, "8GB"),
        (["--workers", "0"], 1, "at least one"),
        (["--until", "foo"], 1, "reconstruction, registration"),
        (["--cluster", "foo"], 1, "local:N"),
        (["--cluster", "local:0"], 1, "local:N"),
        (["--device", "tpu"], 1, "cuda"),
        (["--worker", "3"], 1, "--workers"),
    ],
)
def test_wrong_arguments(capsys, work, arguments, code, words):
    ended = xct(capsys, "run", work / "run.toml", *arguments)
    assert ended.code == code
    assert words in ended.err
    assert not (work / "store.zarr").exists()


@pytest.mark.parametrize("content", [None, "output = [", "\xff\xfe", ""])
def test_unreadable_configuration(capsys, tmp_path, content):
    if content is not None:
        (tmp_path / "run.toml").write_bytes(content.encode("latin-1"))
    ended = xct(capsys, "run", tmp_path / "run.toml")
    assert ended.code == 1
    assert "run.toml" in ended.err


def test_pattern_without_files(capsys, tmp_path):
    ended = xct(capsys, "check", write_config(tmp_path))
    assert ended.code == 1
    assert "scan_*.nxs: no file matches" in ended.err


def test_errors_of_settings_patterns_and_files_at_once(capsys, work):
    tables = {"reconstruction": "center = [1, 2, 3]", "registration": "reference = 7"}
    ended = xct(capsys, "check", write_config(work, tables, scans='["scan_00.nxs", "gone.nxs"]'))
    assert ended.code == 1
    for words in ("3 errors", "3 columns for 2 scans", "reference = 7 but", "gone.nxs: no such file"):
        assert words in ended.err
    ended = xct(capsys, "check", write_config(work, tables, scans='["scan_00.nxs", "gone.nxs", "a_*.nxs", "b_*.nxs"]'))
    for words in ("3 errors", "gone.nxs: no such file", "a_*.nxs: no file", "b_*.nxs: no file"):
        assert words in ended.err
    wrong = write_config(work, {"reconstruction": 'filtre = "hann"'}, scans='["scan_00.nxs", "gone.nxs"]')
    ended = xct(capsys, "check", wrong)
    for words in ("2 errors", "did you mean filter?", "gone.nxs: no such file"):
        assert words in ended.err


def test_rows_and_centre_outside_at_once(capsys, work):
    tables = {"acquisition": "rows = [0, 900]", "reconstruction": "center = 5000"}
    ended = xct(capsys, "check", write_config(work, tables))
    assert (ended.code, "rows 0:900" in ended.err, "center = 5000" in ended.err) == (1, True, True)


def test_preview_outside(capsys, work):
    ended = xct(capsys, "preview", work / "run.toml", "--z", "48")
    assert ended.code == 1
    assert "48 rows" in ended.err
    assert not (work / "run_preview.png").exists()
    ended = xct(capsys, "preview", work / "run.toml", "--scan", "scan_09")
    assert "there are scan_00, scan_01" in ended.err


def test_stores_that_are_not_ours(capsys, work, done):
    (work / "photos").mkdir()
    (work / "photos" / "cat.jpg").touch()
    ended = xct(capsys, "run", write_config(work, output="photos"))
    assert (ended.code, "not a store" in ended.err) == (2, True)
    assert [f.name for f in (work / "photos").iterdir()] == ["cat.jpg"]
    ended = xct(capsys, "run", write_config(work, output=str(done / "store.zarr")))
    assert (ended.code, "another experiment" in ended.err) == (2, True)
    ended = xct(capsys, "check", work / "run.toml")
    assert (ended.code, "another experiment" in ended.err, "projections" in ended.out) == (2, True, True)
    (work / "file").touch()
    assert xct(capsys, "run", write_config(work, output="file")).code == 2


def test_too_little_disk(capsys, work, monkeypatch):
    from xct_pipeline.engine import resources

    monkeypatch.setattr(resources.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 1000))
    for command in ("check", "run"):
        ended = xct(capsys, command, work / "run.toml")
        assert (ended.code, "0.98 kiB free" in ended.err) == (2, True)
    assert not (work / "store.zarr").exists()


def test_disk_fills_during_the_run(capsys, work, finished, monkeypatch):
    whole = execution.write_block

    def full(root, image, shard, block):
        if shard[0] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(root, image, shard, block)

    monkeypatch.setattr(execution, "write_block", full)
    ended = xct(capsys, "run", work / "run.toml")
    assert (ended.code, "No space left" in ended.err) == (2, True)
    monkeypatch.undo()
    assert xct(capsys, "run", work / "run.toml").code == 0
    np.testing.assert_array_equal(
        open_volume(work / "store.zarr", "scan_00").values, open_volume(finished / "store.zarr", "scan_00").values
    )


def test_disk_is_full_while_flats_are_averaged(capsys, work, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "fields.npz")

    monkeypatch.setattr("xct_pipeline.engine.execution.save_estimate", full)
    ended = xct(capsys, "run", work / "run.toml")
    assert (ended.code, "fields.npz: No space left on device; free some space" in ended.err) == (2, True)


@pytest.mark.parametrize("inside", [False, True])
def test_read_only_folder(capsys, work, inside):
    folder = work / "locked"
    folder.mkdir()
    config = write_config(work, output="locked/store.zarr")
    if inside:
        assert xct(capsys, "run", config, "--rows", "16:17").code == 0
    if os.geteuid() == 0:
        locked = [folder, *([folder / "store.zarr", folder / "store.zarr/.xct"] if inside else [])]
        if subprocess.run(["chattr", "+i", *locked], capture_output=True, check=False).returncode:
            pytest.skip("running as root where chattr does not work")
        undo = lambda: subprocess.run(["chattr", "-i", *locked], check=True)  # noqa: E731
    else:
        folder.chmod(0o500)
        undo = lambda: folder.chmod(0o700)  # noqa: E731
    try:
        ended = xct(capsys, "run", config, "--rows", "16:19")
    finally:
        undo()
    assert ended.code == 2, ended.out + ended.err
    assert "locked" in ended.err


def test_damaged_metadata_of_a_store(capsys, done):
    (done / "store.zarr/zarr.json").write_text('{"zarr')
    ended = xct(capsys, "info", done / "store.zarr")
    assert ended.code == 1
    assert "store.zarr/zarr.json: damaged metadata" in ended.err
    assert xct(capsys, "run", done / "run.toml").code == 0
    assert xct(capsys, "info", done / "store.zarr").code == 0


@pytest.mark.parametrize("arguments", [["info"], ["export"], ["init"]])
def test_what_is_no_scan(capsys, tmp_path, arguments):
    (tmp_path / "a.txt").write_text("text")
    for name in ("a.txt", "nothing.nxs"):
        ended = xct(capsys, *arguments, tmp_path / name)
        assert ended.code == 1
        assert name in ended.err
