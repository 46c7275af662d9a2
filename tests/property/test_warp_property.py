"""The warped volume is the same bits however it is cut into blocks."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.warp import required_input_box, warp_block

SHAPE = (37, 41, 45)


def _image(seed: int, holes: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=SHAPE).astype(np.float32)
    if holes:
        image[rng.random(SHAPE) < 0.001] = np.nan
        image[:4, :5] = np.nan
    return image


def _spans(n: int, cuts: list[int]) -> list[slice]:
    edges = sorted({0, n, *(c % n for c in cuts)})
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.tuples(*[st.lists(st.integers(1, 44), max_size=2)] * 3),
    rotation=st.tuples(*[st.floats(-0.2, 0.2)] * 3),
    shift=st.tuples(*[st.floats(-8, 8)] * 3),
    order=st.sampled_from(["linear", "cubic", "quintic"]),
    holes=st.booleans(),
)
def test_any_cut_gives_the_same_bits(cuts, rotation, shift, order, holes):
    image = _image(0, holes)
    motion = tf.rigid(rotation, shift, [18, 20, 22])
    whole = warp_block(image, motion, tuple(slice(0, n) for n in SHAPE), shape=SHAPE, order=order)
    out = np.full(SHAPE, -1.0, np.float32)
    for z in _spans(SHAPE[0], cuts[0]):
        for y in _spans(SHAPE[1], cuts[1]):
            for x in _spans(SHAPE[2], cuts[2]):
                need = required_input_box((z, y, x), motion, SHAPE, order)
                block = image[need] if need is not None else image[:0]
                origin = [s.start for s in need] if need is not None else (0, 0, 0)
                out[z, y, x] = warp_block(block, motion, (z, y, x), shape=SHAPE, origin=origin, order=order)
    np.testing.assert_array_equal(out.view(np.uint32), whole.view(np.uint32))


@settings(max_examples=25, deadline=None)
@given(shift=st.tuples(*[st.integers(-6, 6)] * 3), order=st.sampled_from(["linear", "cubic", "quintic"]))
def test_whole_voxel_shifts_copy(shift, order):
    image = _image(1, holes=False)
    out = warp_block(image, tf.translation(shift), tuple(slice(0, n) for n in SHAPE), shape=SHAPE, order=order)
    moved = np.full(SHAPE, np.nan, np.float32)
    source = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(shift, SHAPE, strict=True))
    target = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(shift, SHAPE, strict=True))
    moved[target] = image[source]
    np.testing.assert_array_equal(np.isnan(out), np.isnan(moved))
    np.testing.assert_allclose(out, moved, atol=1e-5, equal_nan=True)
