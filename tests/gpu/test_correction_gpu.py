"""Correction kernels: CuPy against numpy (rel 1e-4)."""

import numpy as np
import pytest

from xct_pipeline.correction import air, beam_hardening, distortion, flatfield, phase, scatter
from xct_pipeline.correction.defects import find as defects
from xct_pipeline.device import cuda_problem, to_host

cupy = pytest.importorskip("cupy")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(cuda_problem() is not None, reason=str(cuda_problem()))]


@pytest.fixture
def p():
    return np.random.default_rng(0).uniform(0, 2, (48, 24, 64)).astype(np.float32)


def close(on_device, on_host):
    assert isinstance(on_device, cupy.ndarray)
    np.testing.assert_allclose(to_host(on_device), on_host, rtol=1e-4, atol=1e-5)


def test_flatfield():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 1000, (48, 5, 64)).astype(np.uint16)
    dark = rng.uniform(0, 20, (5, 64)).astype(np.float32)
    flats = rng.uniform(900, 1000, (2, 5, 64)).astype(np.float32)
    flats[:, 2, 7] = 0
    w, scale = flatfield.flat_weights([0, 48], 48), rng.uniform(0.9, 1.1, 48)
    on_host, tally = flatfield.line_integrals(counts, dark, flats, w, air=scale, saturation=990)
    on_device, other = flatfield.line_integrals(
        cupy.asarray(counts), cupy.asarray(dark), cupy.asarray(flats), w, air=scale, saturation=990
    )
    close(on_device, on_host)
    assert tally == other
    known = rng.normal(0, 1, (2, 5, 64)), rng.normal(0, 0.02, (48, 2)), rng.normal(0, 0.02, (48, 5, 2))
    on_host, tally = flatfield.line_integrals(counts, dark, flats[0], modes=flatfield.Modes(*known))
    arrays = cupy.asarray(counts), cupy.asarray(dark), cupy.asarray(flats[0])
    on_device, other = flatfield.line_integrals(*arrays, modes=flatfield.Modes(cupy.asarray(known[0]), *known[1:]))
    close(on_device, on_host)
    assert tally == other
    for method in ("mean", "median"):
        close(flatfield.average_frames(cupy.asarray(counts), method), flatfield.average_frames(counts, method))


def test_air_scale(p):
    t, margin = np.exp(-p), air.Margin(9, 7)
    for linear in (False, True):
        on_device = air.air_scale(cupy.asarray(t), margin, linear=linear)
        np.testing.assert_allclose(on_device, air.air_scale(t, margin, linear=linear), rtol=1e-4)


def test_defects(p):
    close(defects.column_statistics(cupy.asarray(p)), defects.column_statistics(p))
    offset = np.random.default_rng(2).normal(size=(24, 64)).astype(np.float32)
    dead = np.random.default_rng(3).uniform(size=(24, 64)) < 0.1
    close(defects.correct_defects(cupy.asarray(p), offset, dead), defects.correct_defects(p, offset, dead))


def test_phase(p):
    setup = {"delta_beta": 300.0, "energy_keV": 30.0, "distance_mm": 50.0, "pixel_size_um": 2.0}
    close(phase.retrieve_phase(cupy.asarray(p), **setup), phase.retrieve_phase(p, **setup))


@pytest.mark.parametrize("air_too", [True, False])
def test_scatter(p, air_too):
    halo = {"share": 0.05, "width": 12.0, "air": air_too}
    close(scatter.remove_halo(cupy.asarray(p), **halo), scatter.remove_halo(p, **halo))


@pytest.mark.parametrize("order", [1, 3])
def test_distortion(p, order):
    arguments = ((1.0, 1e-4), (11.0, 30.0))
    close(
        distortion.correct_distortion(cupy.asarray(p), *arguments, order=order),
        distortion.correct_distortion(p, *arguments, order=order),
    )


def test_beam_hardening(p):
    close(beam_hardening.linearise(cupy.asarray(p), (1.0, 0.1)), beam_hardening.linearise(p, (1.0, 0.1)))
