"""Even and odd projections: correlation, thresholds, noise and the box, against what is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage

from xct_pipeline.config.file import parse_config
from xct_pipeline.engine.resources import Resources
from xct_pipeline.reconstruction import halves
from xct_pipeline.reconstruction.projector import project_slices
from xct_pipeline.reconstruction.steps.halves import crossings, halves_step, hindrance, noise_of, slab, split, where_of
from xct_pipeline.reconstruction.steps.stage import Geometry, volume_pass
from xct_pipeline.scan import Axis

LIMITS = Resources(1, 10**10)


def settings(**options):
    return parse_config(
        {"output": "s", "acquisition": {"scans": ["a"]}, "reconstruction": {"halves": True, **options}}
    ).reconstruction


def two_copies(shape, snr, seed):
    """Return two noisy copies of a signal whose power over that of the noise is a function of the frequency."""
    state = np.random.default_rng(seed)
    z, y = (scipy.fft.fftfreq(n) for n in shape[:2])
    f = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + scipy.fft.rfftfreq(shape[2]) ** 2)
    signal = scipy.fft.irfftn(scipy.fft.rfftn(state.normal(size=shape)) * np.sqrt(snr(f)), shape)
    return [(signal + state.normal(size=shape)).astype(np.float32) for _ in range(2)]


# -------------------------------------------------------------------------------------------- resolution


def falling(f):
    return 30 * np.exp(-((f / 0.12) ** 2))


def test_the_correlation_of_two_noisy_copies_is_that_of_their_spectrum():
    pulls = []
    for seed in range(6):
        found = halves.shell_correlation(*two_copies((48, 64, 80), falling, seed))
        expected = falling(found.frequency) / (1 + falling(found.frequency))
        sigma = (1 - expected**2) / np.sqrt(2 * found.independent)
        known = found.independent > 30
        pulls.append(((found.correlation - expected) / sigma)[known])
    pulls = np.concatenate(pulls)
    assert abs(pulls.mean()) < 0.2
    assert 0.8 < pulls.std() < 1.2  # so that the number of independent coefficients is right, window included


def test_the_crossings_are_where_the_spectrum_puts_them():
    found = [halves.shell_correlation(*two_copies((64, 96, 96), falling, seed)) for seed in range(4)]
    half_bit = [halves.crossing(each, each.half_bit) for each in found]
    seventh = [halves.crossing(each, halves.SEVENTH) for each in found]
    # SNR of a half: (sqrt(2) - 1) / 2 for half a bit where shells hold many coefficients; 1/6 for a correlation of 1/7
    assert np.mean(half_bit) == pytest.approx(0.12 * np.sqrt(np.log(30 / 0.2071)), rel=0.03)
    assert np.mean(seventh) == pytest.approx(0.12 * np.sqrt(np.log(30 * 6)), rel=0.03)


def test_half_a_bit_is_what_the_paper_says():
    assert halves.half_bit(np.array([1e12]))[0] == pytest.approx(
        (np.sqrt(2) - 1) / 2 / (1 + (np.sqrt(2) - 1) / 2), 1e-3
    )
    assert halves.half_bit(np.array([1.0, 100.0])) == pytest.approx([1.0, (0.2071 + 0.19102) / (1.2071 + 0.09102)])


def test_equal_halves_reach_the_finest_structure_and_noise_reaches_none():
    state = np.random.default_rng(0)
    a, b = (state.normal(size=(32, 32, 32)).astype(np.float32) for _ in range(2))
    same, noise = halves.shell_correlation(a, a), halves.shell_correlation(a, b)
    assert np.allclose(same.correlation[1:], 1, atol=1e-5)
    assert halves.crossing(same, same.half_bit) == 0.5
    assert np.isnan(halves.crossing(noise, noise.half_bit)) or halves.crossing(noise, noise.half_bit) < 0.1
    with pytest.raises(ValueError, match="cannot be compared"):
        halves.shell_correlation(a, b[1:])


def test_the_faces_of_a_box_do_not_correlate():
    """A smooth slope makes a jump between opposite faces, which without a window correlates at all frequencies."""
    state = np.random.default_rng(1)
    slope = np.broadcast_to(np.linspace(0, 40, 64), (48, 64, 64))
    a, b = ((slope + state.normal(size=slope.shape)).astype(np.float32) for _ in range(2))
    found = halves.shell_correlation(a, b)
    fine = found.frequency > 0.15
    assert np.abs(found.correlation[fine]).max() < 5 * found.sigma[fine].max()


# ------------------------------------------------------------------------------------------------- noise


def test_half_the_difference_has_the_noise_of_the_whole():
    state = np.random.default_rng(2)
    signal = scipy.ndimage.gaussian_filter(state.normal(size=(32, 48, 48)), 2) * 20
    smooth = (0.0, 0.6, 0.6)
    a, b = (
        signal + scipy.ndimage.gaussian_filter(state.normal(size=signal.shape), smooth, mode="wrap") for _ in (0, 1)
    )
    covariance = halves.noise_covariance(a.astype(np.float32), b.astype(np.float32))
    impulse = np.zeros((13, 9, 9))
    impulse[6, 4, 4] = 1
    kernel = scipy.ndimage.gaussian_filter(impulse, smooth)
    expected = scipy.ndimage.correlate(kernel, kernel, mode="constant") / 2  # of the mean of both
    sigma, error = halves.deviation(covariance, a.size)
    assert sigma == pytest.approx(np.sqrt(expected[6, 4, 4]), abs=3 * error)
    assert covariance == pytest.approx(expected, abs=0.02 * expected.max())
    assert error / sigma == pytest.approx(np.sqrt((expected**2).sum() / 2 / a.size) / expected.max(), rel=0.1)
    assert halves.deviation(np.zeros((3, 3, 3)), 10) == (0.0, 0.0)


# ------------------------------------------------------------------------------------------------- where


def shadows(angles, columns, center, at, radii):
    """Return line integrals of an ellipse, radii along x and y, about a place off the axis."""
    u = np.arange(columns) - center
    middle = at[0] * np.cos(angles) + at[1] * np.sin(angles)
    half = np.hypot(radii[0] * np.cos(angles), radii[1] * np.sin(angles))
    return np.sqrt(np.clip(1 - ((u - middle[:, None]) / half[:, None]) ** 2, 0, None))


@pytest.mark.parametrize("span", [np.pi, 2 * np.pi])
def test_the_circle_lies_in_the_sample(span):
    angles = np.linspace(0, span, 24, endpoint=False)
    found = halves.inscribed(shadows(angles, 200, 97.3, (12.0, -7.0), (60.0, 40.0)), angles, 97.3)
    assert found is not None
    assert found[:2] == pytest.approx((12.0, -7.0), abs=21)  # an ellipse leaves room along its longer axis
    assert found[1] == pytest.approx(-7.0, abs=1.5)
    assert found[2] == pytest.approx(40.0, abs=1.5)


def test_the_circle_of_a_half_acquisition_and_of_a_sample_beyond_the_detector():
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    half = halves.inscribed(shadows(angles, 120, 20.0, (5.0, 8.0), (60.0, 60.0)), angles, 20.0, ("right",))
    assert half == pytest.approx((5.0, 8.0, 60.0), abs=1.5)
    wide = halves.inscribed(shadows(angles, 80, 39.5, (0.0, 0.0), (90.0, 90.0)), angles, 39.5)
    assert wide == pytest.approx((0.0, 0.0, 40.0), abs=0.6)
    assert halves.inscribed(np.zeros((24, 80)), angles, 39.5) is None


def test_the_square_lies_in_the_slice():
    assert halves.square((0.0, 0.0, 20.0), 100) == (slice(36, 64), slice(36, 64))
    assert halves.square((-40.0, 30.0, 20.0), 100) == (slice(66, 94), slice(0, 28))
    assert halves.square((0.0, 0.0, 1e4), 1000) == (slice(308, 692), slice(308, 692))
    assert halves.square((0.0, 0.0, 9.0), 100) is None
    assert halves.square(None, 100) is None


def test_rows_in_the_middle_in_whole_groups_of_the_detector():
    assert slab(0, 40) == slice(0, 40)
    assert slab(0, 160) == slice(48, 112)
    assert slab(5, 200) == slice(59, 123)  # detector rows 64 to 128
    assert slab(0, 65) == slice(0, 64)


# ------------------------------------------------------------------------------------------------- split


def orders():
    even = np.linspace(0, np.pi, 40, endpoint=False)
    golden = np.mod(np.arange(40) * np.pi * (np.sqrt(5) - 1) / 2, np.pi)
    return {
        "steady": even,
        "backwards": even[::-1],
        "whole turn": 2 * even,
        "interlaced": np.concatenate([even[k::4] for k in (0, 2, 1, 3)]),
        "golden": golden,
        "twice": np.concatenate([even, even]),
    }


@pytest.mark.parametrize("order", orders())
def test_halves_alternate_in_the_order_of_angles_whatever_that_of_time(order):
    angles = orders()[order]
    even, odd = split(angles)
    assert sorted([*even, *odd]) == list(range(len(angles)))
    assert abs(len(even) - len(odd)) <= 1
    by_angle = np.argsort(angles, kind="stable")
    parity = np.isin(by_angle, even)
    assert (parity[1:] != parity[:-1]).all()


# -------------------------------------------------------------------------------------------------- step


class Rows:
    """Line integrals (angle, row, column) that are read."""

    def __init__(self, values):
        self.values = values

    def read(self, region):
        return np.array(self.values[region])

    def nbytes(self, region):
        return int(self.values[region].nbytes)


def scanned(angles, axis, columns, sigma, size, seed=3):
    """Return sinograms of a disc with holes, with noise of a known size."""
    state = np.random.default_rng(seed)
    y, x = np.indices((size, size)) - (size - 1) / 2
    disc = 0.02 * ((np.hypot(y, x) < 0.4 * size) - 0.5 * (np.hypot(y - 4, x - 6) < 5)).astype(np.float32)
    lines = project_slices(np.stack([disc] * 16), angles, center=axis, columns=columns)
    lines = np.moveaxis(lines, 0, 1)
    return (lines + sigma * state.normal(size=lines.shape)).astype(np.float32)


def measured(angles, center, columns, sigma, side=None, size=64, **options):
    chosen = settings(**options)
    geometry = Geometry(angles, 16, columns, Axis(center), None, size, side)
    source = Rows(scanned(angles, center, columns, sigma, size))
    whole = volume_pass("a", source, (), chosen, geometry, (0, 16), {}, LIMITS)
    step = halves_step("a", whole, chosen, geometry, (slice(20, 44), slice(20, 44)), 0.0)
    assert hindrance(chosen, geometry) == ""
    return step, step.combine([step.chunk(step.source.read(region), region) for region in step.regions]), whole


@pytest.mark.parametrize("order", ["steady", "interlaced", "twice"])
def test_the_noise_is_that_of_the_volume_in_any_order_of_angles(order):
    angles = np.repeat(orders()[order], 1)
    step, found, whole = measured(angles, 31.5, 64, 0.05)
    box = tuple(slice(a, b) for a, b in found["box"])
    volumes = []
    for seed in (3, 4):
        other = volume_pass(
            "a",
            Rows(scanned(angles, 31.5, 64, 0.05, 64, seed)),
            (),
            settings(),
            Geometry(angles, 16, 64, Axis(31.5), None, 64),
            (0, 16),
            {},
            LIMITS,
        )
        volumes.append(other.compute((slice(0, 16), slice(0, 64), slice(0, 64)))[0][box])
    sigma, error = noise_of(found)
    known = (volumes[0] - volumes[1]).std() / np.sqrt(2)
    assert sigma == pytest.approx(known, abs=3 * np.hypot(error, error))
    assert where_of(found) == "z 0 to 16, y 20 to 44, x 20 to 44"
    assert step.name == "a/halves"
    assert whole.identity() == step.inputs["volume"]
    assert all(0 < f <= 0.5 or np.isnan(f) for f in crossings(found))


METHODS = {
    "fourier": {"method": "fourier"},
    "SIRT": {"method": "iterative", "algorithm": "SIRT", "iterations": 3},
    "TV": {"method": "iterative", "algorithm": "TV", "iterations": 3, "regularization": 0.01},
}


@pytest.mark.parametrize("options", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("side", [None, "left"])
def test_every_method_and_half_acquisition_are_split(options, side):
    turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    center = 11.0 if side else 31.5
    columns = 43 if side else 64
    _, found, _ = measured(turn, center, columns, 0.02, side, 64, **options)
    assert found["projections"].tolist() == [60, 60]
    assert np.isfinite(found["covariance"]).all()
    sigma, error = noise_of(found)
    assert 0 < error < 0.2 * sigma
    assert found["correlation"][1] > 0.9


def test_astra_is_split():
    pytest.importorskip("astra")
    _, found, _ = measured(np.linspace(0, np.pi, 60, endpoint=False), 31.5, 64, 0.02, method="astra")
    assert found["correlation"][1] > 0.9


def test_too_few_projections_are_said_so():
    few = Geometry(np.linspace(0, np.pi, 12), 16, 64, Axis(31.5), None, 64)
    assert hindrance(settings(), few) == "12 projections are too few to be split"
    sparse = Geometry(np.linspace(0, 2 * np.pi, 40, endpoint=False), 16, 43, Axis(11.0), None, 64, "left")
    assert "cannot be reconstructed" in hindrance(settings(method="iterative"), sparse)


def test_the_cost_is_a_small_share_of_a_large_volume():
    angles = np.linspace(0, np.pi, 1800)
    geometry = Geometry(angles, 2048, 2048, Axis(1023.5), 1.0, 2048)

    class Unread:
        def nbytes(self, region):
            return 4 * int(np.prod([part.stop - part.start for part in region]))

    whole = volume_pass("a", Unread(), (), settings(), geometry, (0, 2048), {}, LIMITS)
    step = halves_step("a", whole, settings(), geometry, (slice(832, 1216),) * 2, 0.0)
    assert step.need.cpu_s < 0.07 * whole.need.cpu_s
    assert step.need.task_bytes < 1.1 * whole.need.task_bytes
    assert len(step.regions) == 4
