import numpy as np
import scipy.ndimage

from xct_pipeline.registration.search import phase_shifts, template_shift


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


def test_a_part_is_found_again_beside_what_stays():
    rng = np.random.default_rng(1)
    still = scipy.ndimage.gaussian_filter(rng.normal(size=(40, 40, 40)), 1.5)
    piece = scipy.ndimage.gaussian_filter(rng.normal(size=(10, 10, 10)), 1.5)
    reference, moving = still.copy(), still.copy()
    reference[15:25, 12:22, 14:24] = piece
    moving[20:30, 9:19, 21:31] = 0.7 * piece + 0.1
    moving[:, :, 38:] = np.nan
    mask = np.zeros(still.shape, bool)
    mask[15:25, 12:22, 14:24] = True
    np.testing.assert_array_equal(template_shift(reference, moving, mask, 9), [5, -3, 7])
    assert not template_shift(reference, moving, np.zeros_like(mask), 9).any()
