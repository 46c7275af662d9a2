"""APS Data Exchange files."""

from __future__ import annotations

import contextlib

import h5py
import numpy as np
import pytest

from xct_pipeline.acquisition import open_scan
from xct_pipeline.scan import ScanError

FRAMES = np.arange(6 * 4 * 5, dtype=np.uint16).reshape(6, 4, 5) + 100


def write(path, **changes):
    content = {
        "exchange/data": FRAMES,
        "exchange/data_white": np.full((4, 4, 5), 3000, np.uint16),
        "exchange/data_dark": np.full((2, 4, 5), 3, np.uint16),
        "exchange/theta": np.linspace(0, 180, 6),
        "exchange/theta@units": "degrees",
        "measurement/sample/name": "tooth",
        "measurement/instrument/source/energy": 7.0,
        "measurement/instrument/monochromator/energy": 25.0,
        "measurement/instrument/monochromator/energy@units": "keV",
        "measurement/instrument/detection_system/objective/resolution": 0.69,
        "measurement/instrument/detection_system/objective/resolution@units": "microns",
        "process/acquisition/start_date": "2024-05-01T10:00:00-0500",
    } | changes
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            address, _, attribute = name.partition("@")
            if value is None:
                continue
            if attribute:
                with contextlib.suppress(KeyError):  # left out, or a link that leads nowhere
                    file[address].attrs[attribute] = value
            else:
                file[address] = value
    return path


def test_everything_is_read(tmp_path):
    scan = open_scan(write(tmp_path / "dx.h5"))
    np.testing.assert_array_equal(scan.projections.read(slice(1, None)), FRAMES[1:])
    assert (scan.flats.shape[0], scan.darks.shape[0]) == (4, 2)
    np.testing.assert_allclose(scan.angles, np.linspace(0, np.pi, 6))
    np.testing.assert_array_equal(scan.flat_position, np.zeros(4))
    assert scan.energy_keV == 25
    assert scan.pixel_size_um == pytest.approx(0.69)
    assert scan.start.isoformat() == "2024-05-01T10:00:00-05:00"
    assert scan.metadata["sample"] == "tooth"
    assert scan.warnings == ()


@pytest.mark.parametrize(("mode", "position"), [("Start", [0, 0, 0, 0]), ("End", [6] * 4), ("Both", [0, 0, 6, 6])])
def test_when_flats_were_taken(tmp_path, mode, position):
    path = write(tmp_path / "dx.h5", **{"process/acquisition/flat_fields/flat_field_mode": mode})
    np.testing.assert_array_equal(open_scan(path).flat_position, position)


def test_pixel_of_the_camera_and_magnification(tmp_path):
    objective = "measurement/instrument/detection_system/objective"
    camera = "measurement/instrument/detector/pixel_size_x"
    changes = {
        f"{objective}/resolution": None,
        f"{objective}/magnification": "5X",
        camera: 3.45,
        f"{camera}@units": "um",
    }
    assert open_scan(write(tmp_path / "dx.h5", **changes)).pixel_size_um == pytest.approx(0.69)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exchange/theta": None}, "/exchange/theta: missing"),
        ({"exchange/theta": np.linspace(0, 180, 7)}, "7 angles for 6 projections"),
        ({"exchange/theta@units": "degrez"}, "unit 'degrez'"),
        ({"exchange/data_white": None}, 'flats = "none"'),
        ({"exchange/data_dark": np.zeros((0, 4, 5), "u2")}, 'darks = "none"'),
        ({"exchange/data_white": np.zeros((2, 4, 6), "u2")}, "flats are (4, 6)"),
        ({"exchange/data_white": np.zeros((4, 5), "u2")}, "/exchange/data_white: has shape (4, 5)"),
        ({"exchange/data": FRAMES[0]}, "/exchange/data: has shape (4, 5)"),
        ({"exchange/data@axes": "y:theta:x"}, "axes are y:theta:x"),
        ({"exchange/data": h5py.ExternalLink("gone.h5", "/x")}, "gone.h5"),
        ({"exchange/data_white": h5py.ExternalLink("gone.h5", "/x")}, "gone.h5"),
        ({"exchange/theta": h5py.SoftLink("/nowhere")}, "/nowhere"),
    ],
)
def test_wrong_contents(tmp_path, changes, words):
    with pytest.raises(ScanError) as caught:
        open_scan(write(tmp_path / "dx.h5", **changes))
    assert words in str(caught.value)
    assert "dx.h5" in str(caught.value)
