"""The levels of an image's pyramid, each from the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def halved(block: Array, axes: Sequence[int], *, labels: bool) -> Array:
    """Return the next level of a block: exact means of 2 x 2 (x 2) voxels, or the nearest voxels of labels.

    Parameters
    ----------
    block : array, any axis first and two or three of space last
    axes : sequence of int
        Those of space. A last odd voxel along them is left out.
    labels : bool
        Values are numbers of things, which have no mean.
    """
    if labels:
        even = tuple(slice(0, n - n % 2, 2) if k in axes else slice(None) for k, n in enumerate(block.shape))
        return np.ascontiguousarray(block[even])
    return _means(block) if 0 in axes else np.stack([_means(instant) for instant in block])


def _means(block: Array) -> Array:
    """Return the means of 2 x 2 (x 2) voxels, a pair of planes at a time: their sums stay in the cache."""
    out = np.empty([n // 2 for n in block.shape], block.dtype)
    whole = tuple(slice(0, n - n % 2) for n in block.shape[1:])
    for k in range(len(out)):
        part = block[(slice(2 * k, 2 * k + 2), *whole)]
        for axis in range(block.ndim):
            ahead = (slice(None),) * axis
            part = part[(*ahead, slice(0, None, 2))] + part[(*ahead, slice(1, None, 2))]
            part *= np.float32(0.5)
        out[k] = part[0]
    return out
