"""Labels, properties and interfaces do not depend on the blocks."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.segmentation.label import RANKS, label_partial, merge_labels, relabel_block
from xct_pipeline.segmentation.properties import combine_properties, property_partial

SETTINGS = settings(max_examples=60, deadline=None)


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.floats(0.05, 0.7))
    return np.random.default_rng(seed).random(shape) < share


@st.composite
def cuts(draw: st.DrawFn, n: int) -> list[slice]:
    edges = sorted({0, n, *draw(st.lists(st.integers(0, n), max_size=4))})
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


@given(data=st.data(), mask=masks(), connectivity=st.sampled_from([6, 18, 26]))
@SETTINGS
def test_any_grid_gives_the_labels_of_the_whole(data: st.DataObject, mask: np.ndarray, connectivity: int) -> None:
    z, y, x = (data.draw(cuts(n)) for n in mask.shape)
    regions = data.draw(st.permutations([(a, b, c) for a in z for b in y for c in x]))
    parts = [label_partial(mask[r], r, mask.shape, connectivity=connectivity) for r in regions]
    merged = merge_labels(parts, connectivity=connectivity)
    labels = np.zeros(mask.shape, np.int32)
    for r in regions:
        labels[r] = relabel_block(mask[r], r, merged, connectivity=connectivity)
    reference, count = scipy.ndimage.label(mask, scipy.ndimage.generate_binary_structure(3, RANKS[connectivity]))
    assert labels.max(initial=0) == count == len(merged["first"])
    names, first = np.unique(labels.ravel(), return_index=True)
    np.testing.assert_array_equal(first[names > 0], merged["first"])
    assert (np.diff(merged["first"]) > 0).all()
    # one to one: as many pairs of labels as there are labels
    assert len(np.unique(np.stack([labels[mask], reference[mask]]), axis=1).T) == count

    values = np.arange(mask.size, dtype=np.float32).reshape(mask.shape)
    table = combine_properties([property_partial(labels[r], r, values[r]) for r in regions])
    whole = combine_properties([property_partial(labels, tuple(slice(0, n) for n in mask.shape), values)])
    for key in whole:
        np.testing.assert_array_equal(table[key], whole[key])
    assert whole["voxels"].sum() == mask.sum()
