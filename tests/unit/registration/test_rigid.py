"""Motions of an object with a closed form, its accuracy and its errors."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from xct_pipeline.registration import levels as levels_module
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.rigid import Level, RegistrationError, register


def binned(volume, scale):
    n = [k // scale for k in volume.shape]
    cut = volume[: n[0] * scale, : n[1] * scale, : n[2] * scale].astype(np.float32)
    return cut.reshape(n[0], scale, n[1], scale, n[2], scale).mean((1, 3, 5))


def pyramid(reference, moving, mask, scales):
    return [
        Level(binned(reference, s), binned(moving, s), None if mask is None else binned(mask, s) > 0.5, float(s))
        for s in scales
    ]


@pytest.mark.parametrize(("noise", "gain", "offset"), [(0.0, 1.0, 0.0), (0.05, 1.0, 0.0), (0.05, 1.05, 0.1)])
def test_motion_gain_and_offset(make_phantom, noise, gain, offset):
    phantom = make_phantom(128)
    found = register(pyramid(*phantom.noisy(noise, gain, offset), phantom.mask, (4, 2, 1)))
    assert phantom.largest_error(found.transform) < (0.005 if noise == 0 else 0.02)
    assert found.gain == pytest.approx(gain, abs=0.005)
    assert found.offset == pytest.approx(offset, abs=0.005)
    assert found.tre_self < 0.03
    assert 0.6 < found.kept < 0.95


def test_own_error_says_how_large_the_error_is(make_phantom):
    phantom = make_phantom(128)
    for noise in (0.05, 0.2):
        found = register(pyramid(*phantom.noisy(noise), phantom.mask, (4, 2, 1)))
        error = phantom.largest_error(found.transform)
        assert error / 4 < found.tre_self < 4 * error


def test_twenty_voxels_and_five_degrees(make_phantom):
    phantom = make_phantom(128, (9.0, -6.0, 7.0), 5.0)
    found = register(pyramid(*phantom.noisy(0.0), phantom.mask, (8, 4, 2, 1)))
    assert phantom.largest_error(found.transform) < 0.01


def test_automatic_mask_leaves_out_what_changed(make_phantom):
    phantom = make_phantom(128)
    found = register(pyramid(*phantom.noisy(0.02), None, (4, 2, 1)))
    assert phantom.largest_error(found.transform) < 0.02
    assert found.kept > 0.8  # of the mask it found, not of the volume


@pytest.mark.parametrize("model", ["translation", "affine"])
def test_other_models(make_phantom, model):
    phantom = make_phantom(96, (3.37, -2.61, 1.83), 0.0)
    found = register(pyramid(*phantom.noisy(0.01), phantom.mask, (4, 2, 1)), model=model)
    assert phantom.largest_error(found.transform) < 0.02
    if model == "translation":
        np.testing.assert_array_equal(found.transform[:, :3], np.eye(3))


def test_start_is_used_where_the_search_fails(make_phantom):
    phantom = make_phantom(96, (3.37, -2.61, 1.83), 14.0)
    start = phantom.motion.copy()
    start[:, 3] += [0.7, -0.5, 0.4]
    found = register(pyramid(*phantom.noisy(0.0), phantom.mask, (4, 2, 1)), start=start)
    assert phantom.largest_error(found.transform) < 0.02


class Slabs:
    """An array that can only be read by slabs along z, as one on disk would be."""

    def __init__(self, array):
        self.array, self.shape, self.largest = array, array.shape, 0

    def __getitem__(self, key):
        assert isinstance(key, slice)
        found = self.array[key]
        self.largest = max(self.largest, found.shape[0])
        return found


def test_same_bits_from_memory_from_slabs_and_from_threads(make_phantom, monkeypatch):
    phantom = make_phantom(96)
    levels = pyramid(*phantom.noisy(0.05), phantom.mask, (4, 2, 1))
    whole = register(levels)
    monkeypatch.setattr(levels_module, "_SLAB_VOXELS", 1)
    monkeypatch.setattr(levels_module, "_SLAB_PLANES", 7)
    streamed = [Level(Slabs(v.reference), Slabs(v.moving), Slabs(v.mask), v.scale) for v in levels]
    by_slabs = register(streamed, memory=0.0)
    assert streamed[-1].moving.largest < 40  # slab, tilt and smoothing; not the volume
    with ThreadPoolExecutor(2) as pool:
        by_threads = register(levels, parallel_map=pool.map)
    for other in (by_slabs, by_threads):
        np.testing.assert_array_equal(other.transform, whole.transform)
        assert other[1:] == whole[1:]


def test_a_small_mask_is_matched_on_the_levels_that_show_it(make_phantom):
    phantom = make_phantom(96, changed=False)
    mask = np.zeros(phantom.mask.shape, bool)
    mask[40:56, 40:56, 38:54] = True
    found = register(pyramid(*phantom.noisy(0.02), mask, (8, 4, 2, 1)))
    points = np.argwhere(mask)
    assert np.linalg.norm(tf.apply(found.transform, points) - tf.apply(phantom.motion, points), axis=1).max() < 0.05
    mask[:] = False
    mask[40:42, 40:42, 40:42] = True
    with pytest.raises(RegistrationError, match="holds 8 voxels away from the volume's border, at least 64 are needed"):
        register(pyramid(*phantom.noisy(0.02), mask, (2, 1)))


def test_missing_voxels_are_left_out(make_phantom):
    phantom = make_phantom(96)
    reference, moving = phantom.noisy(0.01)
    reference, moving = reference.copy(), moving.copy()
    reference[:10], moving[:, :12] = np.nan, np.nan
    found = register(pyramid(reference, moving, phantom.mask, (4, 2, 1)))
    assert phantom.largest_error(found.transform) < 0.02


def test_errors_name_the_figure(make_phantom):
    phantom = make_phantom(96)
    reference, moving = phantom.noisy(0.05)
    empty, full = np.zeros(phantom.mask.shape, bool), np.ones(phantom.mask.shape, bool)
    noise = np.random.default_rng(5).normal(size=(2, *reference.shape)).astype(np.float32)

    with pytest.raises(RegistrationError, match="mask is empty"):
        register(pyramid(reference, moving, empty, (4, 2)))
    with pytest.raises(RegistrationError, match="no texture"):
        register(pyramid(np.ones_like(reference), moving, full, (4, 2)))
    with pytest.raises(RegistrationError):
        register(pyramid(noise[0], noise[1], full, (4, 2)))
    with pytest.raises(ValueError, match=r"\(48, 48, 48\) voxels and the moving volume \(47, 48, 48\)"):
        register([Level(binned(reference, 2), binned(moving, 2)[1:], None, 2.0)])
    with pytest.raises(RegistrationError, match="beyond the search range: the mask's centre moves by 4"):
        register(pyramid(reference, moving, phantom.mask, (4, 2)), max_shift=2.0)
    with pytest.raises(RegistrationError, match=r"turns by 1\.0 degrees, the limit is 0\.5"):
        register(pyramid(reference, moving, phantom.mask, (4, 2)), max_rotation=0.5)
    with pytest.raises(RegistrationError):
        register(pyramid(reference, np.full_like(moving, np.nan), phantom.mask, (4, 2)))
    with pytest.raises(ValueError, match='unknown model "elastic"'):
        register(pyramid(reference, moving, phantom.mask, (4, 2)), model="elastic")
    with pytest.raises(ValueError, match="no pyramid level"):
        register([])


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_mask_that_sees_one_flat_face_does_not_fix_the_motion(seed):
    rng = np.random.default_rng(seed)
    z = np.arange(64, dtype=np.float32)[:, None, None]
    face = np.broadcast_to(1 / (1 + np.exp(-(z - 31.3))), (64, 64, 64))
    volumes = [(face + 0.02 * rng.normal(size=face.shape)).astype(np.float32) for _ in range(2)]
    try:
        found = register([Level(volumes[0], volumes[1], None, 1.0)])
    except RegistrationError:
        return  # steps along the face wander by their rounding: they may end nowhere
    assert {"shift_y", "shift_x", "turn_z"} <= set(found.undetermined)


def test_objects_that_do_not_overlap():
    rng = np.random.default_rng(4)
    reference = rng.normal(size=(64, 64, 64)).astype(np.float32)
    moving = np.full_like(reference, np.nan)
    moving[60:] = 1.0
    with pytest.raises(RegistrationError, match="overlap"):
        register([Level(reference, moving, None, 1.0)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shift", "degrees", "noise", "gain", "offset", "limit"),
    [
        ("plain", (3.37, -2.61, 1.83), 1.0, 0.05, 1.0, 0.0, 0.01),
        ("noise as large as the contrast", (3.37, -2.61, 1.83), 1.0, 0.41, 1.0, 0.0, 0.05),
        ("gain and offset", (3.37, -2.61, 1.83), 1.0, 0.05, 1.05, 0.1, 0.01),
        ("far", (12.0, -10.0, 12.0), 5.0, 0.05, 1.0, 0.0, 0.01),
    ],
)
def test_accuracy_at_256(make_phantom, record_property, name, shift, degrees, noise, gain, offset, limit):
    phantom = make_phantom(256, shift, degrees)
    volumes = pyramid(*phantom.noisy(noise, gain, offset), phantom.mask, (8, 4, 2, 1))
    began = time.process_time()
    found = register(volumes)
    seconds = time.process_time() - began
    error = phantom.largest_error(found.transform)
    record_property("largest_error_voxels", float(error))
    record_property("cpu_seconds", seconds)
    print(f"{name}: {error:.4f} voxels, {seconds:.2f} CPU s, {found}")
    assert error < limit
