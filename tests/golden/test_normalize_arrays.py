"""tomopy's stored results where the definitions agree, and measured scans."""

import numpy as np
import pytest

from xct_pipeline.correction import phase
from xct_pipeline.correction.air import Margin, air_scale, find_margin
from xct_pipeline.correction.flatfield import average_frames, line_integrals


@pytest.fixture(scope="module")
def arrays(data_folder):
    folder = data_folder / "tomopy_arrays"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return {f.stem: np.load(f) for f in folder.glob("*.npy")}


def test_normalize(arrays):
    """Mean flat and dark. tomopy raises F - D below 1e-6 to 1e-6; no such pixel is in these arrays."""
    flat, dark = average_frames(arrays["flat"]), average_frames(arrays["dark"])
    p, counts = line_integrals(arrays["tomo"], dark, flat)
    assert counts.nonfinite == 0
    truth = arrays["normalize"]
    np.testing.assert_allclose(np.exp(-p), np.maximum(truth, 1e-5), rtol=2e-6, atol=2e-6)


def test_normalize_bg(arrays):
    """tomopy scales each detector row by a line between its edge pixels, as a one-column margin per row does.

    normalize_nf is not compared: it takes the nearest group of flats, we interpolate between groups.
    """
    tomo = arrays["tomo"].astype(np.float32)
    for row in range(tomo.shape[1]):
        ends = air_scale(tomo[:, row : row + 1], Margin(1, 1), linear=True)
        p, _ = line_integrals(tomo[:, row : row + 1], None, "none", air=ends)
        np.testing.assert_allclose(np.exp(-p[:, 0]), arrays["normalize_bg"][:, row], rtol=1e-5, atol=1.1e-5)


def test_retrieve_phase(arrays):
    """Within 1.5 % of tomopy at delta/beta = 1 / (4 pi^2 alpha), the rest being tomopy's frequencies.

    tomopy leaves the 2 pi out of k (so its alpha is beta/delta only up to 4 pi^2), and samples the transform at
    (2 i - n + 1) / (2 (n - 1)) instead of i / n, without a zero frequency. With those frequencies and its
    128 x 256 frame its stored result comes out to float32 rounding, which fixes our wavelength and length.
    """
    length = phase.kernel_length(1e3 / (4 * np.pi**2), 20.0, 500.0, 1.0)  # 20 keV, 50 cm, 1 um, alpha 1e-3
    proj, truth = arrays["proj"].astype(np.float32), arrays["retrieve_phase"]
    ours = phase.filter_transmission(proj, length)
    assert np.abs(ours - truth).max() < 0.015 * truth.max()
    f_row, f_column = (np.fft.fftshift((2 * np.arange(n) - n + 1) / (2 * (n - 1))) for n in (128, 256))
    window = 1 / (1 + (2 * np.pi * length) ** 2 * (f_row[:, None] ** 2 + f_column**2))
    frame = np.pad(proj, ((0, 0), (60, 60), (104, 104)), mode="edge")
    theirs = np.fft.ifft2(np.fft.fft2(frame) * window / window.max()).real[:, 60:68, 104:152]
    assert np.abs(theirs - truth).max() < 1e-6 * truth.max()


def test_air_of_a_measured_scan_is_found(data_folder):
    """savu_24737: air is about 0.71 in its brightest part, and the beam's profile is not the flat's."""
    tifffile = pytest.importorskip("tifffile")
    folder = data_folder / "savu_24737"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    counts = np.stack([tifffile.imread(f) for f in sorted((folder / "projections").glob("*.tiff"))])
    dark, flat = tifffile.imread(folder / "dark_00001.tiff"), tifffile.imread(folder / "flat_00001.tiff")
    p, tally = line_integrals(counts, dark, flat, saturation=65535)
    assert tally.nonfinite >= counts.shape[0]  # pixel (0, 0) is 0 in every projection and in the flat
    assert np.isfinite(p).all()
    transmission = np.exp(-p)
    margin = find_margin(transmission[:, 60:75])
    assert margin is not None
    assert 8 <= margin.left <= 34  # the sample's widest reach is columns 36 to 122
    assert 8 <= margin.right <= 36
    scale = air_scale(transmission[:, 60:75], margin)
    assert 0.66 < 1 / scale.mean() < 0.72
    assert scale.std() / scale.mean() < 0.01


def test_air_of_the_tooth(data_folder):
    h5py = pytest.importorskip("h5py")
    if not (data_folder / "tooth.h5").is_file():
        pytest.skip("no tooth.h5")
    with h5py.File(data_folder / "tooth.h5") as file:
        data, white, dark = (file["exchange"][k][()] for k in ("data", "data_white", "data_dark"))
    p, _ = line_integrals(data, average_frames(dark), average_frames(white))
    margin = find_margin(np.exp(-p))
    assert margin is not None
    assert margin.left >= 40
    assert margin.right >= 40
    np.testing.assert_allclose(air_scale(np.exp(-p), margin), 1.0, atol=0.02)
