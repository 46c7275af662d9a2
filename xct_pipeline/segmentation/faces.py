"""Where a face between two materials lies.

A watershed tells which materials meet. The crest of the gradient that it stops at is drawn inwards where a face is
curved, by about the blur's variance over the radius: a pore of five voxels loses a third of its volume. Here the face
is put where the value, deblurred to first order, is half-way between the means of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import njit
from xct_pipeline.device import Array

ROUNDS = 2  # a face moves by at most one voxel in each
LEAST_STEP = 4.0  # between two means, in units of what deblurring changed


def place_faces(
    block: Array,
    movable: npt.NDArray[np.bool_],
    means: Sequence[float | None],
    labels: npt.NDArray[np.uint8],
    *,
    blur: float,
) -> None:
    """Move the faces between labels to where the values say, in place.

    In each of two rounds a voxel takes the label, of itself and of its neighbours up and down the gradient, whose mean
    is nearest to its own deblurred value. Neighbours across the gradient do not count, so no material creeps along a
    face between two others; nor does a mean that differs from that of the voxel's label by less than four times what
    deblurring changed, so that the foot of a dense material does not decide between two light ones.

    Parameters
    ----------
    block : float32 array (z, y, x)
        1/cm, with a halo of `ROUNDS` + 1 beside what the labels needed.
    movable : array of bool (z, y, x)
        Voxels that may change; a voxel on the outside of the block does not.
    means : sequence of float
        Of label 1 and so on, 1/cm; a label of unknown mean (None, NaN) neither grows nor shrinks.
    labels : uint8 array (z, y, x)
        0 where there is none.
    blur : float
        Standard deviation of the Gaussian that the block is blurred by, denoising included, voxels.
    """
    count = int(np.count_nonzero(movable))
    place, value = np.empty((count, 6), np.int32), np.empty((count, 2), np.float32)
    found = _look(block, movable, np.float32(0.5 * blur**2), place, value)
    chosen = np.empty(found, np.uint8)
    known = np.concatenate([[np.nan], np.asarray(means, np.float64)]).astype(np.float32)
    for _ in range(ROUNDS):
        if not _move(place[:found], value, known, chosen, labels):
            return


@njit
def _look(block: Array, movable: Array, strength: np.float32, place: Array, value: Array) -> int:
    """List voxels that may change, the step up the gradient (to one of 26), the deblurred value and its change."""
    nz, ny, nx = block.shape
    i = 0
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                if not movable[z, y, x]:
                    continue
                up, down = block[z + 1, y, x], block[z - 1, y, x]
                back, front = block[z, y + 1, x], block[z, y - 1, x]
                right, left = block[z, y, x + 1], block[z, y, x - 1]
                slope_z, slope_y, slope_x = up - down, back - front, right - left
                if not 0 < abs(slope_z) + abs(slope_y) + abs(slope_x) < np.inf:  # flat, or beside missing data
                    continue
                steepest = max(abs(slope_z), abs(slope_y), abs(slope_x))
                bend = up + down + back + front + right + left - np.float32(6) * block[z, y, x]
                value[i, 0], value[i, 1] = block[z, y, x] - strength * bend, abs(strength * bend)
                place[i, 0], place[i, 1], place[i, 2] = z, y, x
                place[i, 3], place[i, 4] = np.rint(slope_z / steepest), np.rint(slope_y / steepest)
                place[i, 5] = np.rint(slope_x / steepest)
                i += 1
    return i


@njit
def _move(place: Array, value: Array, means: Array, chosen: Array, labels: Array) -> bool:
    for i in range(len(place)):
        z, y, x, dz, dy, dx = place[i]
        own = best = labels[z, y, x]
        sharp, least = value[i, 0], LEAST_STEP * value[i, 1]
        for other in (labels[z + dz, y + dy, x + dx], labels[z - dz, y - dy, x - dx]):
            if abs(means[other] - means[own]) > least and abs(sharp - means[other]) < abs(sharp - means[best]):
                best = other
        chosen[i] = best
    changed = False
    for i in range(len(place)):
        z, y, x = place[i, 0], place[i, 1], place[i, 2]
        changed |= labels[z, y, x] != chosen[i]
        labels[z, y, x] = chosen[i]
    return changed
