"""Centre of rotation of two measured scans against published figures."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile

from xct_pipeline.reconstruction.center.find import choose_rows, find_center, row_content


def line_integrals(projections, flat, dark):
    transmission = (projections - dark) / np.where(flat - dark > 0, flat - dark, np.nan)
    return -np.log(np.where(transmission > 0, transmission, np.nan)).astype(np.float32)


@pytest.fixture(scope="module")
def savu(data_folder):
    folder = data_folder / "savu_24737"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    files = sorted((folder / "projections").iterdir())
    projections = np.stack([tifffile.imread(f) for f in files]).astype(np.float32)
    flat, dark = (tifffile.imread(folder / f"{n}_00001.tiff").astype(np.float32) for n in ("flat", "dark"))
    angles = np.radians(np.loadtxt(folder / "angles.txt")[10:101])
    return line_integrals(projections, flat, dark), angles


@pytest.mark.parametrize("count", [1, 4, 8, 16])
def test_savu(savu, count):
    data, angles = savu
    rows = choose_rows(row_content(data[::10]), count)
    assert not {20, 40} & set(rows.tolist())
    assert rows.min() >= 60  # above there is only air
    found = find_center(data[:, rows], angles, rows)
    print(f"{count} rows: {found.center:.3f} +- {found.sigma:.3f}, metric {found.metric_center:.3f}")
    assert abs(found.center - 85.83) < 0.15
    assert found.sigma < 0.03
    assert abs(found.metric_center - found.center) < 1.0


def test_tooth(data_folder):
    file = data_folder / "tooth.h5"
    if not file.is_file():
        pytest.skip(f"{file} is absent")
    with h5py.File(file) as f:
        exchange = f["exchange"]
        flat, dark = (exchange[n][:].mean(axis=0) for n in ("data_white", "data_dark"))
        data, angles = line_integrals(exchange["data"][:], flat, dark), np.radians(exchange["theta"][:])
    found = find_center(data, angles)
    print(f"tooth: {found.center:.3f} +- {found.sigma:.3f}, metric {found.metric_center:.3f}")
    assert 295.3 < found.center < 296.5
    assert 295.7 < found.center < 296.0  # the partner extrapolated to 180 degrees: 295.8 to 295.9
    assert found.sigma < 0.1
    assert abs(found.metric_center - found.center) < 1.0
