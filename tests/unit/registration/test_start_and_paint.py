"""What the registration is told by hand: where the search begins, and a painted mask."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import tifffile
import zarr
from test_registration_stage import LIMITS, MOTION, N, cell, make_store

from xct_pipeline.config import Registration, StartMotion
from xct_pipeline.config.file import ConfigError, parse_config
from xct_pipeline.region import painted_box
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.levels import RegistrationError
from xct_pipeline.registration.steps import masks as stage_masks
from xct_pipeline.registration.steps import motions as stage_motions
from xct_pipeline.registration.steps import stage

NAMES = ["early", "middle"]
FAR = tf.compose(tf.rigid(np.deg2rad([40.0, 0.0, 0.0]), [0, 0, 0], [(N - 1) / 2] * 3), MOTION)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A scan that is turned by 40 degrees, far beyond what is found by searching."""
    volumes = {"early": cell(FAR, 1), "middle": cell(tf.identity(), 2)}
    return make_store(tmp_path_factory.mktemp("far") / "store.zarr", volumes)


def settings(**values):
    return Registration.model_validate({"reference": "middle", "mask": {"min_attenuation": 3.0}, **values})


def motion(store, **values):
    found = stage.run(settings(**values), NAMES, [None, None], [None, None], store, LIMITS)
    return found.motions[0]


def test_a_start_turns_about_the_middle_then_shifts_the_scan_onto_the_reference():
    reference = np.zeros((9, 31, 31), np.float32)
    reference[4, 8:12, 20:26] = 1.0
    start = StartMotion(shift=(1.0, 3.0, -2.0), rotation=(90.0, 0.0, 0.0))
    transform = stage_motions.start_transform(start, reference.shape)
    scan = np.zeros_like(reference)  # so that turning it by 90 degrees and shifting it gives the reference
    undone = np.roll(reference, (-1, -3, 2), (0, 1, 2))
    scan[:] = np.rot90(undone, -1, axes=(1, 2))  # as seen on the screen, y down: anticlockwise undoes clockwise
    places = np.moveaxis(tf.apply(transform, np.moveaxis(np.indices(scan.shape, float), 0, -1)), -1, 0)
    moved = scipy.ndimage.map_coordinates(scan, places, order=1)
    assert np.allclose(moved, reference, atol=1e-5)


def test_the_search_begins_at_a_start_and_limits_count_from_there(store):
    assert motion(store).problem is not None
    undone = tf.invert(FAR)
    about = {"rotation": [-39.0, 0.0, 0.0], "shift": np.round(tf.apply(undone, [31.5] * 3) - 31.5).tolist()}
    found = motion(store, start={"early": about}, max_rotation=5.0)
    assert found.problem is None
    corners = np.array(np.meshgrid(*[[0, N - 1]] * 3)).reshape(3, -1).T
    assert tf.largest_distance(found.transform, FAR, corners) < 0.1
    beyond = motion(store, start={"early": about}, max_rotation=0.1)
    assert "max_rotation" in str(beyond.problem)


def test_a_start_of_one_scan_leaves_the_cached_motions_of_others(store):
    fixed, moving = (stage.find_volume(store, name) for name in ("middle", "early"))
    one, other = (settings(start={name: {"shift": [1, 0, 0]}}) for name in ("early", "late"))
    assert stage_motions._key(settings(), fixed, moving) == stage_motions._key(other, fixed, moving)
    assert stage_motions._key(settings(), fixed, moving) != stage_motions._key(one, fixed, moving)


def test_names_of_starts_are_checked():
    stage.check(settings(start={"early": {}}), NAMES)
    with pytest.raises(RegistrationError, match=r"start names erly; the scans are early, middle"):
        stage.check(settings(start={"erly": {}}), NAMES)
    with pytest.raises(RegistrationError, match="the reference and does not move"):
        stage.check(settings(start={"middle": {}}), NAMES)
    table = {"method": "translation", "start": {"early": {"rotation": [1, 0, 0]}}}
    with pytest.raises(ConfigError, match="does not turn"):
        parse_config({"output": "s.zarr", "acquisition": {"scans": ["a.nxs"]}, "registration": table})
    table = {"start": {"early": {"shift": [1, 0], "turn": 3}}}
    with pytest.raises(ConfigError, match=r"(?s)start\.early\.shift\.2: missing.*start\.early\.turn: unknown key"):
        parse_config({"output": "s.zarr", "acquisition": {"scans": ["a.nxs"]}, "registration": table})


@pytest.fixture
def painted(tmp_path):
    paint = np.zeros((N, N, N), np.uint8)
    paint[8:40, 8:56, 16:48] = 3
    tifffile.imwrite(tmp_path / "mask.tif", paint, photometric="minisblack", compression="zlib")
    return tmp_path / "mask.tif", paint


def test_a_painted_mask_is_the_same_box_on_every_level(store, painted):
    file, paint = painted
    volume = stage.find_volume(store, "middle")
    array = volume.array(store, 0)
    mask = stage_masks.Mask(settings(mask={"painted": str(file)}).mask, volume, array, 0, store)
    assert np.array_equal(mask[0:N], paint > 0)
    assert np.array_equal(mask[5:9], paint[5:9] > 0)
    whole = slice(0, N), slice(0, N)
    coarse = painted_box(paint, (N // 2,) * 3, (slice(1, 30), slice(0, N // 2), slice(0, N // 2)))
    assert np.array_equal(coarse, paint[2:60:2, ::2, ::2] > 0)
    fine = painted_box(paint[::2, ::2, ::2], (N, N, N), (slice(3, 20), *whole))
    assert np.array_equal(fine, paint[3:20] > 0)
    odd = painted_box(paint[:32, :32, :32], (65, 65, 65), (slice(63, 65), slice(0, 65), slice(3, 64)))
    assert odd.shape == (2, 65, 61)


def test_a_painted_mask_gives_the_motion_of_the_same_box(store, painted):
    file, _ = painted
    undone = tf.invert(FAR)
    start = {"early": {"rotation": [-40, 0, 0], "shift": (tf.apply(undone, [31.5] * 3) - 31.5).tolist()}}
    box = motion(store, mask={"box": {"z": [8, 40], "y": [8, 56], "x": [16, 48]}}, start=start)
    paint = motion(store, mask={"painted": str(file)}, start=start)
    assert box.problem is None
    assert np.array_equal(paint.transform, box.transform)


def test_a_mask_that_changed_is_another_mask(store, painted):
    file, paint = painted
    fixed, moving = (stage.find_volume(store, name) for name in ("middle", "early"))
    chosen = settings(mask={"painted": str(file)})
    before = stage_motions._key(chosen, fixed, moving)
    copy = file.with_name("copy.zarr")
    zarr.create_array(str(copy), data=paint.astype("int16"), chunks=(16, 16, 16))
    assert stage_motions._key(settings(mask={"painted": str(copy)}), fixed, moving) == before
    paint[0, 0, 0] = 1
    tifffile.imwrite(file, paint)
    assert stage_motions._key(chosen, fixed, moving) != before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (np.zeros((4, 5, 6), np.uint8), "4 x 5 x 6 voxels, but the reference has 64 x 64 x 64"),
        (np.ones((64, 64), np.uint8), "a volume"),
        (np.ones((64, 64, 64), np.float32), "whole numbers, not float32"),
        (np.zeros((64, 64, 64), np.uint8), "nothing is painted"),
        (b"no picture", "cannot be read as TIFF"),
    ],
)
def test_a_mask_that_does_not_fit_says_why(tmp_path, content, words):
    if isinstance(content, bytes):
        (tmp_path / "mask.tif").write_bytes(content)
    elif content is not None:
        tifffile.imwrite(tmp_path / "mask.tif", content, photometric="minisblack")
    table = {"output": "s.zarr", "acquisition": {"scans": ["a.nxs"]}, "registration": {"mask": {"painted": "mask.tif"}}}
    config = parse_config(table, folder=tmp_path)
    with pytest.raises(RegistrationError, match=rf"mask\.tif: .*{words}"):
        stage.check_files(config, (64, 64, 64))
