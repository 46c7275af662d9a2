import numpy as np
import scipy.ndimage

from xct_pipeline.registration.search import phase_shifts


def test_finds_a_large_shift_under_noise():
    rng = np.random.default_rng(0)
    world = scipy.ndimage.gaussian_filter(rng.normal(size=(60, 60, 60)), 1.5)
    reference, moving = world[14:46, 14:46, 14:46], world[6:38, 19:51, 12:44]
    noise = 0.5 * world.std() * rng.normal(size=(2, 32, 32, 32))
    noise[0, :4] = np.nan
    shifts = phase_shifts(reference + noise[0], moving + noise[1])
    np.testing.assert_array_equal(shifts[0], [8, -5, 2])


def test_flat_volumes_propose_nothing():
    assert phase_shifts(np.ones((8, 8, 8), np.float32), np.ones((8, 8, 8), np.float32)) == []
