"""Measured scans of three formats are opened with the counts and angles that are known of them."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest

from xct_pipeline.acquisition import open_scan, open_tiff_scan
from xct_pipeline.acquisition.checks import scan_facts
from xct_pipeline.acquisition.steps import working_frame
from xct_pipeline.config import Acquisition
from xct_pipeline.correction.steps.references import measure_references
from xct_pipeline.scan import ScanError


def findings_of(scan):
    return measure_references(scan, working_frame(scan, Acquisition(scans=["s.nxs"])), "linear").findings


def test_k11_diad_loads_with_one_warning(data_folder):
    path = data_folder / "k11_diad" / "k11-18014.nxs"
    scan = open_scan(path)
    assert scan.shape == (3001, 22, 26)
    assert (scan.flats.shape[0], scan.darks.shape[0]) == (100, 100)
    np.testing.assert_array_equal(scan.flat_position, np.repeat([0, 3001], 50))
    degrees = np.rad2deg(scan.angles)
    assert 89.97 < degrees.min() < 90.1
    assert 269.9 < degrees.max() < 270.03
    assert len(set(np.round(np.diff(degrees), 6))) > 100  # read back, not set
    assert scan.energy_keV is None  # the file knows the ring's 3 GeV only
    (warning,) = scan.warnings
    for name in ("detectorPanda.h5", "EtherCAT.h5", "/entry/imaging/gts_theta_value_set", "/entry/imaging/LinkamTemp"):
        assert name in warning
    with h5py.File(path.with_name("k11-18014") / "k11-18014-imaging.h5") as file:
        raw = file["entry/detector/detector"]
        np.testing.assert_array_equal(scan.projections.read(slice(0, 3001, 1000)), raw[100:3101:1000])
        np.testing.assert_array_equal(scan.flats.read(slice(48, 52)), raw[[48, 49, 3101, 3102]])
    assert findings_of(scan) == []


@pytest.mark.parametrize("missing", ["imaging", "pcompPanda"])
def test_k11_diad_without_what_is_needed(data_folder, tmp_path, missing):
    shutil.copytree(data_folder / "k11_diad", tmp_path / "k11")
    (tmp_path / "k11" / "k11-18014" / f"k11-18014-{missing}.h5").unlink()
    with pytest.raises(ScanError, match=r"k11-18014\.nxs.* links to .*, a file that is missing"):
        open_scan(tmp_path / "k11" / "k11-18014.nxs")


def test_tooth(data_folder):
    scan = open_scan(data_folder / "tooth.h5")
    assert scan.shape == (181, 2, 640)
    assert (scan.flats.shape[0], scan.darks.shape[0]) == (10, 10)
    np.testing.assert_allclose(np.rad2deg(scan.angles[[0, -1]]), [0, 179.0055], atol=1e-4)
    assert scan.warnings == ()
    assert findings_of(scan) == []


def test_savu_24737(data_folder):
    scan = open_tiff_scan(
        "savu_24737",
        "projections/*.tiff",
        "flat*.tiff",
        "dark*.tiff",
        angles={"file": "angles.txt", "lines": [10, 101]},
        folder=data_folder / "savu_24737",
    )
    assert scan.shape == (91, 135, 160)
    assert scan.projections.chunk_rows == 1
    assert (scan.flats.shape, scan.darks.shape) == ((1, 135, 160), (1, 135, 160))
    np.testing.assert_allclose(np.rad2deg(scan.angles), np.linspace(-88.2, 91.8, 91), atol=1e-3)
    assert np.all(scan.projections.read(columns=slice(0, 1), rows=slice(0, 1)) == 0)
    assert findings_of(scan) == []
    assert scan_facts(scan)["angle_range_deg"] == pytest.approx(180, abs=0.01)


def test_savu_24737_without_the_right_lines(data_folder):
    with pytest.raises(ScanError, match="111 angles for 91 projections"):
        open_tiff_scan("s", "projections/*.tiff", angles={"file": "angles.txt"}, folder=data_folder / "savu_24737")
