"""Exports open in the tools they are for, with the values, spacing and time of the store."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from command import xct
from small_series import SCANS, TIMES_S

from xct_pipeline.store import export
from xct_pipeline.store.export import export_store, exportable, whole
from xct_pipeline.store.files import RefusedError, StoreError
from xct_pipeline.store.formats import FORMATS, imagej
from xct_pipeline.store.series import Series
from xct_pipeline.store.stored_array import StoredArray

VOXEL_UM = 100 / 3
TWO = ("scan_1", "scan_10")


@pytest.fixture(scope="module")
def series(small_series: Path) -> Series:
    return Series.open(small_series)


def plane(series: Series, path: str, scan: str) -> np.ndarray:
    return series.image(path).isel(t=series.plane(path, scan)).to_numpy()


def test_every_format_exports_every_kind_of_image(small_series: Path, series: Series, tmp_path: Path) -> None:
    kinds = exportable(series)
    assert {"registered", "materials", "attenuation", "density", "flags", "areal", "areal_sigma"} <= set(kinds)
    for form in FORMATS:
        done = list(export_store(small_series, form, tmp_path / form, TWO[:1], ["all"]))
        assert all(path.exists() for path in done)
        assert not [p for p in (tmp_path / form).rglob("*") if "partial" in p.name]
        stems = {path.name.split(".")[0] for path in done}
        assert {"registered", "registered_scan_1"} & stems, form
        assert len(done) >= len(kinds) + 1


def test_imagej_knows_spacing_time_and_values(small_series: Path, series: Series, tmp_path: Path) -> None:
    (file,) = export_store(small_series, "imagej", tmp_path, None, ["registered"])
    with tifffile.TiffFile(file) as tiff:
        assert tiff.is_imagej
        meta = tiff.imagej_metadata
        assert tiff.series[0].axes == "TZYX"
        assert (meta["frames"], meta["slices"]) == (11, 40)
        assert meta["spacing"] == pytest.approx(VOXEL_UM)
        assert meta["unit"] == "um"
        assert meta["finterval"] == pytest.approx(TIMES_S[1] - TIMES_S[0])
        assert meta["value_unit"] == "1/cm"
        across = tiff.pages[0].tags["XResolution"].value
        assert across[1] / across[0] == pytest.approx(VOXEL_UM, rel=1e-6)
        values = tiff.asarray()
    for k in (0, 9, 10):
        assert np.array_equal(values[k], plane(series, "registered", SCANS[k]), equal_nan=True)
    (areal,) = export_store(small_series, "imagej", tmp_path, None, ["areal"])
    with tifffile.TiffFile(areal) as tiff:
        assert tiff.series[0].axes == "TYX"


def test_what_imagej_cannot_hold_is_ome_tiff(
    small_series: Path, series: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagej, "LARGEST", 1000)
    (file,) = export_store(small_series, "imagej", tmp_path, TWO, ["registered"])
    with tifffile.TiffFile(file) as tiff:
        assert tiff.is_bigtiff
        pixels = ET.fromstring(tiff.ome_metadata).find(".//{*}Pixels")
        assert float(pixels.get("PhysicalSizeZ")) == pytest.approx(VOXEL_UM)
        assert float(pixels.get("TimeIncrement")) == pytest.approx(TIMES_S[9] - TIMES_S[0])
        assert tiff.series[0].axes == "TZYX"
        assert np.array_equal(tiff.asarray()[1], plane(series, "registered", "scan_10"), equal_nan=True)


def test_nexus_has_axes_units_and_provenance(small_series: Path, series: Series, tmp_path: Path) -> None:
    file, _ = export_store(small_series, "nexus", tmp_path, TWO, ["density"])
    with h5py.File(file) as opened:
        entry = opened["entry"]
        assert entry["definition"][()] == b"NXtomoproc"
        data = entry["data"]
        assert data.attrs["NX_class"] == "NXdata"
        assert list(data.attrs["axes"]) == ["z", "y", "x"]
        for axis, n in zip("zyx", data["data"].shape, strict=True):
            assert data[axis].shape == (n,)
            assert np.diff(data[axis][:2]) == pytest.approx(VOXEL_UM)
            assert data[axis].attrs["units"] == "um"
        assert data["data"].attrs["units"] == "g/cm3"
        assert data["time"][()] == pytest.approx(TIMES_S[0])
        process = entry["reconstruction"]
        assert process["program"][()] == b"xct-pipeline"
        assert datetime.fromisoformat(process["date"][()].decode()).tzinfo is not None
        assert b"scan_1.nxs" in process["parameters/raw_file"][()]
        assert json.loads(process["parameters/configuration"][()])["variation"]["species"] == "Na"
        assert np.array_equal(data["data"][()], plane(series, "variation/density", "scan_1"), equal_nan=True)


def test_a_validator_of_nexus_finds_no_fault(small_series: Path, tmp_path: Path) -> None:
    """Its only words are of what is optional and absent."""
    pytest.importorskip("punx")
    files = list(export_store(small_series, "nexus", tmp_path, TWO[:1], ["volumes", "areal", "labels"]))
    for file in files:
        ended = subprocess.run([sys.executable, "-m", "punx.main", "validate", file], capture_output=True, text=True)
        counts = dict(re.findall(r"^(OK|WARN|ERROR) +(\d+) ", ended.stdout, re.MULTILINE))
        assert int(counts["OK"]) > 50, ended.stderr
        assert (counts["WARN"], counts["ERROR"]) == ("0", "0"), ended.stdout


def test_vtk_lists_times_and_says_spacing(small_series: Path, series: Series, tmp_path: Path) -> None:
    *files, collection = export_store(small_series, "vtk", tmp_path, TWO, ["registered"])
    listed = ET.parse(collection).findall(".//DataSet")
    assert [(d.get("file"), float(d.get("timestep"))) for d in listed] == [
        (files[0].name, TIMES_S[0]),
        (files[1].name, TIMES_S[9]),
    ]
    data = files[1].read_bytes()
    spacing = re.search(rb'Spacing="([^"]+)"', data)[1].split()
    assert [float(s) for s in spacing] == pytest.approx([VOXEL_UM] * 3)
    start = data.index(b'encoding="raw">\n_') + len(b'encoding="raw">\n_')
    nbytes = int.from_bytes(data[start : start + 8], "little")
    values = np.frombuffer(data[start + 8 : start + 8 + nbytes], "<f4").reshape(40, 48, 48)
    assert np.array_equal(values, plane(series, "registered", "scan_10"), equal_nan=True)


def test_pyvista_opens_vtk(small_series: Path, series: Series, tmp_path: Path) -> None:
    pyvista = pytest.importorskip("pyvista")
    *files, collection = export_store(small_series, "vtk", tmp_path, TWO, ["registered", "areal"])
    grid = pyvista.read(files[1])
    assert grid.spacing == pytest.approx((VOXEL_UM,) * 3)
    assert grid.dimensions == (48, 48, 40)
    values = np.asarray(grid.active_scalars).reshape(40, 48, 48)
    assert np.array_equal(values, plane(series, "registered", "scan_10"), equal_nan=True)
    reader = pyvista.get_reader(files[2])
    assert reader.time_values == pytest.approx([TIMES_S[0], TIMES_S[9]])
    assert pyvista.get_reader(collection).number_time_points == 2


@pytest.mark.parametrize(("form", "ending"), [("nrrd", ".nrrd"), ("raw", "/{}.mhd")])
def test_simpleitk_opens_nrrd_and_raw_with_a_header(
    form: str, ending: str, small_series: Path, series: Series, tmp_path: Path
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    list(export_store(small_series, form, tmp_path, TWO, ["registered", "labels", "areal"]))
    for path, name in (("registered", "registered"), ("registered/labels/materials", "materials")):
        stem = f"{name}_scan_10"
        file = str(tmp_path / stem) + ending.format(stem)
        image = sitk.ReadImage(file)
        assert image.GetSpacing() == pytest.approx((VOXEL_UM,) * 3)
        assert np.array_equal(sitk.GetArrayFromImage(image), plane(series, path, "scan_10"), equal_nan=True)
    assert sitk.ReadImage(str(tmp_path / "areal_scan_10") + ending.format("areal_scan_10")).GetDimension() == 2


def test_numpy_stands_beside_its_facts(small_series: Path, series: Series, tmp_path: Path) -> None:
    list(export_store(small_series, "npy", tmp_path, TWO, ["registered"]))
    values = np.load(tmp_path / "registered_scan_10.npy", mmap_mode="r")
    assert np.array_equal(values, plane(series, "registered", "scan_10"), equal_nan=True)
    facts = json.loads((tmp_path / "registered.json").read_text())["registered_scan_10.npy"]
    assert (facts["unit"], facts["axes"], facts["time_s"]) == ("1/cm", ["z", "y", "x"], TIMES_S[9])


def test_half_an_export_is_never_there(small_series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self):
        yield np.zeros(self.shape[1:], self.dtype)
        raise OSError(28, "No space left on device")

    for form in FORMATS:
        with monkeypatch.context() as patch:
            patch.setattr("xct_pipeline.store.formats.common.Exported.planes", broken)
            with pytest.raises(OSError, match="No space"):
                list(export_store(small_series, form, tmp_path, TWO[:1], ["registered"]))
        assert list(tmp_path.iterdir()) == [], form


def test_no_more_than_a_shard_is_read_at_a_time(
    small_series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, sizes = StoredArray.__getitem__, []

    def noted(self, index):
        values = read(self, index)
        sizes.append(np.size(values) / np.prod(self.shards))
        return values

    monkeypatch.setattr(StoredArray, "__getitem__", noted)
    for form in FORMATS:
        list(export_store(small_series, form, tmp_path / form, TWO, ["registered"]))
    assert len(sizes) >= 6 * len(FORMATS)
    assert max(sizes) <= 1


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "scan_1").mkdir()
    (tmp_path / "scan_1" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"thesis\.tex, which no export wrote"), whole(tmp_path / "scan_1"):
        pass
    assert (tmp_path / "scan_1" / "thesis.tex").exists()


def test_what_is_not_there_is_told(
    small_series: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = xct(capsys, "export", small_series, "--image", "speed", "-o", tmp_path)
    assert ended.code == 1
    assert "has no image speed; it has: volumes, registered, materials" in ended.err
    with pytest.raises(StoreError, match="has no scan_12"):
        list(export_store(small_series, "npy", tmp_path, ["scan_12"], ["registered"]))
    usage = export.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(export.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RefusedError, match=r"are needed and .* are free"):
        list(export_store(small_series, "npy", tmp_path))
