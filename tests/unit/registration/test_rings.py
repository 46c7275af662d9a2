"""Rings, which stay about the rotation axis while the sample moves: told, left out, and in the motion's error."""

import numpy as np
import pytest

from xct_pipeline.registration import rings as rg
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.own_error import largest_error
from xct_pipeline.registration.rigid import Level, RegistrationError, register
from xct_pipeline.registration.steps.motions import common_axis
from xct_pipeline.registration.steps.volumes import Volume


def ring_field(n, amplitude, *, seed=0, widths=(1.0, 6.0), count=14, arcs=False):
    """Draw rings about the middle of the slices, some of them in some rows only, or over half a turn only."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((n, n)) - (n - 1) / 2
    radius, azimuth = np.hypot(y, x), np.mod(np.arctan2(y, x) - 0.4, 2 * np.pi)
    out = np.zeros((n, n, n), np.float32)
    for _ in range(count):
        place, width = rng.uniform(4, n / 2), rng.uniform(*widths)
        ring = rng.choice([-1.0, 1.0]) * amplitude * np.exp(-0.5 * ((radius - place) / (width / 2.355)) ** 2)
        if arcs:
            ring = ring * ((azimuth < np.pi) == (rng.random() < 0.5))
        rows = slice(None) if rng.random() < 0.5 else slice(int(rng.integers(0, n // 2)), None)
        out[rows] += ring.astype(np.float32)
    return out


def pyramid(reference, moving, mask, scales=(2, 1)):
    def binned(v, s):
        n = v.shape[0] // s
        return v[: n * s, : n * s, : n * s].astype(np.float32).reshape(n, s, n, s, n, s).mean((1, 3, 5))

    return [Level(binned(reference, s), binned(moving, s), binned(mask, s) > 0.5, float(s)) for s in scales]


def ringed(phantom, amplitude, drift=0.0, noise=0.02, **how):
    """Return two levels with rings of an amplitude in units of the contrast, weaker by `drift` in the second scan."""
    reference, moving = phantom.noisy(noise)
    field = ring_field(reference.shape[0], 0.41 * amplitude, **how)
    return pyramid(reference + field, moving + (1 - drift) * field, phantom.mask)


def middle(phantom):
    return ((phantom.mask.shape[0] - 1) / 2,) * 2


def error_where_rings_are_left(phantom, levels):
    """Return the error of a match that knows of no rings, infinite where it says itself that it found nothing."""
    try:
        return phantom.largest_error(register(levels).transform)
    except RegistrationError:
        return np.inf


@pytest.mark.parametrize(
    ("amplitude", "how"),
    [
        (0.1, {}),
        (0.3, {}),
        (0.5, {}),
        (0.3, {"widths": (1.0, 1.5)}),
        (0.3, {"widths": (5.0, 6.0)}),
        (0.3, {"drift": 0.3}),
        (0.3, {"arcs": True}),
    ],
)
def test_rings_do_not_hold_the_sample_back(make_phantom, record_property, amplitude, how):
    phantom = make_phantom(96)
    levels = ringed(phantom, amplitude, **how)
    before = error_where_rings_are_left(phantom, levels)
    found = register(levels, axis=middle(phantom))
    after = phantom.largest_error(found.transform)
    record_property("largest_error_voxels", (float(before), float(after)))
    print(f"{amplitude} {how}: {before:.3f} -> {after:.3f} voxels, stated {found.tre_self:.3f}")
    assert after < 0.05
    assert after < 0.5 * before
    assert found.rings > 0.0


def test_a_ceramic_with_faces_about_the_axis_is_not_taken_for_rings(make_cell):
    cell = make_cell(96, 0.4)
    middle = (cell.n - 1) / 2
    mask = np.zeros(cell.reference.shape, bool)
    z, y, x = np.indices(mask.shape) - middle
    mask[(z > -0.42 * cell.n) & (z < 0.04 * cell.n) & (np.hypot(y, x) < 0.4 * cell.n)] = True
    clean = register(pyramid(cell.reference, cell.moving, mask), axis=(middle, middle))
    assert clean.rings == 0.0
    assert cell.largest_error(clean.transform) < 0.02
    field = ring_field(cell.n, 0.3 * 4.9)
    levels = pyramid(cell.reference + field, cell.moving + field, mask)
    found = register(levels, axis=(middle, middle))
    assert cell.largest_error(found.transform) < 0.05
    assert error_where_rings_are_left(cell, levels) > 0.3


def test_without_rings_nothing_is_different(make_phantom):
    phantom = make_phantom(96)
    levels = pyramid(*phantom.noisy(0.05), phantom.mask)
    plain, looked = register(levels), register(levels, axis=middle(phantom))
    assert looked.rings == 0.0
    np.testing.assert_array_equal(looked.transform, plain.transform)
    assert looked.tre_self == plain.tre_self


@pytest.mark.slow
def test_the_stated_error_is_that_of_many_draws(make_phantom):
    """40 draws with rings, noise, a change of grey scale and another content in a quarter."""
    phantom, pulls = make_phantom(64), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        field = ring_field(64, 0.41 * rng.uniform(0.05, 0.4), seed=seed)
        volumes = []
        for volume, gain in ((phantom.reference, 1.0), (phantom.moving, rng.uniform(0.97, 1.03))):
            noise = rng.uniform(0.02, 0.1) * rng.standard_normal(volume.shape, dtype=np.float32)
            volumes.append(volume / gain + field + noise)
        found = register(pyramid(*volumes, phantom.mask), axis=middle(phantom))
        pulls.append(phantom.largest_error(found.transform) / found.tre_self)
    width = float(np.sqrt(np.mean(np.square(pulls))))
    print(f"error over stated error: {width:.2f} r.m.s., {np.median(pulls):.2f} in the middle")
    assert 0.7 < width < 1.4


@pytest.mark.parametrize("sectors", [1, 8])
def test_a_profile_is_found_from_what_it_draws(sectors):
    """The fit over azimuth undoes `subtract`, and the adjoint of the model is its transpose."""
    rng = np.random.default_rng(1)
    profile = rng.normal(size=(sectors, 4, 30)).astype(np.float32)
    volume = np.zeros((4, 40, 40), np.float32)
    rg.subtract(volume, 0, profile, 19.5, 19.5)
    sums = rg.sum_azimuth(volume, np.ones(volume.shape, np.uint8), 19.5, 19.5, 8, 30)
    if sectors == 1:
        found = rg.fit_azimuth(sums.sum(axis=0, keepdims=True), damping=1e-6)
        np.testing.assert_allclose(found[..., 3:19], -profile[..., 3:19], atol=1e-3)

    def adjoint(samples, data, one, other, theta):
        back, back_theta = np.zeros((2, *one.shape)), np.zeros(8)
        place = tf.rigid([0.02, 0.01, -0.01], [0.3, 0.7, -0.4], [2, 20, 20]), np.array([2.0, 20.0, 20.0])
        none = np.zeros((0, 0, 0, 0)), np.zeros((0, 0))
        rg.project(samples, data, one, other, theta, *place, 1.1, 19.5, 19.5, 0, 1, back[0], back[1], back_theta, *none)
        return np.concatenate([back.ravel(), back_theta])

    samples = rng.normal(size=(6, 4, 40, 40)).astype(np.float32)
    samples[1] = 1.0
    a, b = (
        (rng.normal(size=(sectors, 4, 30)), rng.normal(size=(sectors, 4, 30)), rng.normal(size=8)) for _ in range(2)
    )
    forth = [-adjoint(samples, 0.0, *v) for v in (a, b)]
    flat = [np.concatenate([part.ravel() for part in v]) for v in (a, b)]
    assert forth[0] @ flat[1] == pytest.approx(forth[1] @ flat[0], rel=1e-9)


def test_the_largest_error_is_that_of_the_draws(make_phantom):
    """Of a shift along one axis with standard error s, the root mean square of the largest distance is s."""
    from xct_pipeline.registration.levels import prepare

    phantom = make_phantom(96)
    p = prepare(pyramid(*phantom.noisy(0.05), phantom.mask, (1,))[0], 0.7, 2e9, map)
    covariance = np.diag([0.04, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert largest_error(covariance, "rigid", p) == pytest.approx(0.2, rel=0.15)
    turned = np.diag([0.0, 0.0, 0.0, 1e-4, 0.0, 0.0])
    reach = np.hypot(*(p.points - p.center)[:, 1:].T).max()
    assert largest_error(turned, "rigid", p) == pytest.approx(0.01 * reach, rel=0.15)


def test_the_axis_is_that_of_the_reconstruction_or_of_the_configuration():
    from xct_pipeline.config import Registration

    def volume(axis):
        return Volume("a", "p", (8, 9, 9), 1, 1.0, "1/cm", "x", axis=axis)

    own = volume((4.0, 4.0))
    assert common_axis(Registration(), own, own) == (4.0, 4.0)
    assert common_axis(Registration(), own, volume(None)) is None
    assert common_axis(Registration(axis=(3.0, 5.0)), volume(None), volume(None)) == (3.0, 5.0)
