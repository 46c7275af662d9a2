"""Layers at a face: how far averaging displaces it, how many hold metal, and two estimates of their change."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from xct_pipeline.variation.budget import Errors, Measured
from xct_pipeline.variation.near_face import UNLIKE, Face, Missed, NearFace, averaging, continued, left_out
from xct_pipeline.variation.noise import Noise
from xct_pipeline.variation.steps.near_face import _beside_core


def displacement(step: float, blur: float) -> float:
    """Return by how many voxels an edge of line integrals is displaced by averaging intensities over a Gaussian."""
    place = np.arange(-10, 10, 0.005)
    paths = np.where(place < 0, step, 0.0)
    seen = -np.log(ndimage.gaussian_filter1d(np.exp(-paths), blur / 0.005, mode="nearest"))
    return float((paths - seen).sum() * 0.005 / step)


@pytest.mark.parametrize("step", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("blur", [0.4, 0.7])
def test_an_edge_is_displaced_by_a_share_of_its_step_and_blur(step, blur):
    area, voxel = 2500.0, 1e-3
    chord = math.sqrt(math.pi * area) / 2
    face = Face(step / (chord * voxel) * area, area, blur, 0.0, voxel)
    assert face.displaced == pytest.approx(displacement(step, blur), rel=0.15)


def test_a_tilt_puts_a_sum_off_by_no_more_than_the_displacement():
    still, tilted, far = (Face(7e4, 1e4, 0.6, tilt, 1e-3) for tilt in (0.0, 0.002, 0.1))
    assert still.sigma == 0
    assert 0 < tilted.sigma < far.sigma == far.step * far.displaced / 2
    assert Face(0.0, 0.0, 0.6, 0.1, 1e-3).sigma == 0


def test_layers_that_are_left_out_are_counted_from_the_face():
    layers = [7.0, 7.0, 7.0, 3.75, 0.5, 0.5]  # the fourth is half ceramic
    assert left_out(7.0, 0.5, layers, 0.0) == pytest.approx(2.5)
    assert left_out(7.0, 0.5, layers, 0.1) == pytest.approx(2.4)
    assert left_out(7.0, 0.5, [7.0] * 6, 0.5) == 0


def test_a_change_that_does_not_end_at_the_face_is_continued():
    value, sigma = continued(-3.0, -3.0, 0.8, 0.1)
    assert (value, sigma) == (pytest.approx(-2.4), pytest.approx(0.8 * math.hypot(UNLIKE * 3.0, 0.1)))
    assert continued(-3.0, -1.0, 1.0, 0.0)[1] == pytest.approx(1.0)


def test_layers_that_are_alike_do_not_tell_what_left_from_the_face():
    height = np.arange(16.0) + 0.5
    zone, void = np.ones(16), 1 - ((height - 8) / 8) ** 2  # straight walls, and a ball that touches the ceramic
    for profile in (zone, (zone + void) / 2):
        near, first, second = (float(profile[k : k + 3].sum()) for k in (0, 3, 6))
        value, sigma = continued(first, second, 1.0, 0.0)
        assert abs(value - near) < 1.5 * sigma
        assert sigma < first / 3


def test_both_estimates_are_weighted_by_their_errors():
    face = NearFace(measured=-1.5, sigma_measured=0.3, continued=-1.0, sigma_continued=0.6)
    assert face.share == pytest.approx(0.8)
    assert face.mass == pytest.approx(-1.4)
    assert face.sigma == pytest.approx(1 / math.sqrt(1 / 0.09 + 1 / 0.36))
    assert not face.disagrees
    assert NearFace(-2.0, 0.1, -1.0, 0.1).disagrees
    assert NearFace(0.0, 0.0, -1.0, 0.1).mass == 0


def test_layers_after_the_face_that_know_nothing_of_what_left_at_it_hardly_count():
    thin = NearFace(measured=-2.0, sigma_measured=0.3, continued=-0.2, sigma_continued=0.06)
    assert thin.disagrees
    assert thin.share == pytest.approx(1.8**2 / (1.8**2 + 0.3**2))
    assert abs(thin.mass + 2.0) < thin.sigma < thin.sigma_measured
    alike = NearFace(measured=-0.5, sigma_measured=0.4, continued=-0.6, sigma_continued=0.01)
    assert alike.share == 0.5  # never surer than what was measured


def test_what_averaging_takes_from_two_scans_is_compared_face_by_face():
    rng = np.random.default_rng(3)
    wave = 20 * np.abs(np.cos(np.linspace(0, np.pi, 400)))

    def scan(level, other, rough):
        return [
            Missed(level + wave + rng.normal(0, 2, 400), wave, level + 12.73 + other, 10.0, rough) for _ in range(2)
        ]

    assert wave.mean() == pytest.approx(12.73, abs=0.05)
    found = averaging(scan(90.0, 3.0, 0.2), scan(100.0, 1.0, 0.2))
    assert found.total == pytest.approx(-20.0, abs=1.0)
    assert found.noise == pytest.approx(2 / math.sqrt(400) * 2, rel=0.2)  # four means; what follows the angle is none
    assert found.tilt == pytest.approx(2 * 10.0)  # of four faces
    assert found.sides == pytest.approx(4.0, abs=0.8)
    assert found.rough == 0
    assert found.sigma == pytest.approx(math.hypot(found.noise, found.tilt, found.sides))


def test_faces_that_are_no_planes_cost_what_their_slope_would_tell():
    flat = [Missed(np.full(50, 90.0), np.zeros(50), 90.0, 0.0, 0.4)]
    tilted = [Missed(np.full(50, 80.0), np.full(50, 10.0), 80.0, 0.0, 0.4)]
    found = averaging(tilted, flat)
    assert found.total == pytest.approx(-20.0)
    assert found.sigma == found.rough == pytest.approx(4.0)


def layers_of(ceramic: float, change: float, layers: int, off: float) -> Measured:
    """Return the sums over layers of ceramic and metal, of which a share of the grey scale is off in one scan."""
    side = 24
    covariance = np.zeros((3, 3, 3))
    covariance[1, 1, 1] = 1e-6
    noise = Noise(covariance, np.ones((side, side)), 1.0, 1.0, 5000)
    fixed = np.full((side, side), ceramic * layers)
    moving = (fixed + change / side**2) * (1 + off)
    sums = {"change": moving - fixed, "fixed": fixed, "moving": moving, "lost": np.array(0)}
    sums |= {"count": np.full((side, side), layers), "motions": np.zeros((6, side, side))}
    return Measured(sums, noise, Errors(0.01, 1e-4, 1e-3, 1e-4, 0.0, 0.0), slope=4.0)


@pytest.mark.parametrize("off", [-2e-3, 0.0, 1e-3])
def test_what_left_at_the_faces_is_told_on_the_scale_of_the_ceramic_between_them(off):
    anode = SimpleNamespace(k_species=0.25)
    study = SimpleNamespace(voxel_um=1e4, physics=SimpleNamespace(anode=anode))  # a voxel of 1 cm3: 1e3 mg
    pair = SimpleNamespace(density=lambda measured: lambda means: 4.0 * means[0])
    faces, core = [layers_of(7.0, -40.0, 6, off), layers_of(7.0, 0.0, 9, off)], layers_of(7.1, 0.0, 12, off)
    mass, sigma = _beside_core(study, pair, faces, core)
    assert mass == pytest.approx(-40.0 * 4.0 * 1e3 * (1 + off), rel=1e-9)
    alone = 4e3 * 1e-3 * 7.0 * 15 * 24**2  # what the error of the gain makes of the faces alone
    assert sigma < alone / 3
    still = replace(core, errors=replace(core.errors, gain=0.0))
    zones = [replace(face, errors=still.errors) for face in faces]
    assert sigma == pytest.approx(_beside_core(study, pair, zones, still)[1], rel=0.06)  # it hardly counts
