"""Strong faces of a volume, and what lies near them or deep inside a solid: compiled sweeps over the rows of a block.

A block is smoothed by a Gaussian of one voxel once, and faces and solid are both taken from that. Masks are grown row
by row: a voxel is near a face where one of the rows around it, widened along x by what is left of the reach, says so.
"""

from __future__ import annotations

import numpy as np

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array
from xct_pipeline.smoothing import gaussian_reach, smooth_block

TRUNCATE = 3.0  # of the Gaussian, standard deviations, which are voxels
REACH = gaussian_reach(1.0, TRUNCATE)


def smoothed(block: Array) -> Array:
    """Smooth a block without gaps, (z, y, x), by a Gaussian of one voxel, edge values repeated beyond the block."""
    return smooth_block(block, 1.0, truncate=TRUNCATE)


def find_faces(smooth: Array, threshold: float) -> Array:
    """Return where the gradient of a smoothed block, by central differences, exceeds `threshold` per voxel."""
    faces = np.empty(smooth.shape, np.bool_)
    _find_faces(smooth, np.float32(threshold**2), faces.view(np.uint8))
    return faces


def ball(width: int) -> Array:
    """Return how far a ball reaches along x in each row (z, y) around its middle; -1 where it does not."""
    step = np.arange(-width, width + 1)
    left = width**2 + 0.5 - step[:, None] ** 2 - step**2
    return np.asarray(np.where(left >= 0, np.floor(np.sqrt(np.maximum(left, 0))), -1), np.int64)


def diamond(width: int) -> Array:
    """Return the same for the voxels that `width` steps along the axes reach."""
    step = np.abs(np.arange(-width, width + 1))
    return np.asarray(np.maximum(width - step[:, None] - step, -1))


def grow(mask: Array, shape: Array) -> Array:
    """Return the voxels that lie within a shape (`ball`, `diamond`) about any voxel of a mask (z, y, x)."""
    grown = np.empty(mask.shape, np.bool_)
    _grow(np.ascontiguousarray(mask).view(np.uint8), shape, grown.view(np.uint8))
    return grown


def median_above(block: Array, threshold: float) -> Array:
    """Tell where the median of the 3 x 3 x 3 voxels about a voxel exceeds a threshold, edge values repeated.

    That is where at least fourteen of the 27 do, so that nothing need be sorted.
    """
    above = np.pad(block > threshold, 1, mode="edge").view(np.uint8)
    result = np.empty(block.shape, np.bool_)
    _most(above, result.view(np.uint8))
    return result


@njit
def _find_faces(smooth: Array, limit: np.float32, faces: Array) -> None:
    nz, ny, nx = smooth.shape
    half = np.float32(0.5)
    row = empty(nx + 2, np.float32)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                row[x + 1] = smooth[z, y, x]
            row[0], row[nx + 1] = row[1], row[nx]
            below, above = smooth[max(z - 1, 0), y], smooth[min(z + 1, nz - 1), y]
            near, far = smooth[z, max(y - 1, 0)], smooth[z, min(y + 1, ny - 1)]
            left, right = row[:nx], row[2:]
            out = faces[z, y]
            for x in range(nx):
                a, b, c = (above[x] - below[x]) * half, (far[x] - near[x]) * half, (right[x] - left[x]) * half
                out[x] = a * a + b * b + c * c > limit


@njit
def _grow(mask: Array, shape: Array, grown: Array) -> None:
    nz, ny, nx = mask.shape
    width = shape.shape[0] // 2
    wide = zeros((nz, ny, nx), np.uint8)  # bit k: a voxel of the mask within k voxels along x
    used = zeros((nz, ny), np.bool_)
    row = zeros(nx + 2 * width, np.uint8)
    for z in range(nz):
        for y in range(ny):
            seen = np.uint8(0)
            for x in range(nx):
                row[width + x] = mask[z, y, x]
                seen |= mask[z, y, x]
            used[z, y] = seen != 0
            if not used[z, y]:
                continue
            out = wide[z, y]
            for k in range(width + 1):
                bits = np.uint8(256 - (1 << k))
                low, high = row[width - k : width - k + nx], row[width + k : width + k + nx]
                for x in range(nx):
                    out[x] |= bits * (low[x] | high[x])
    for z in range(nz):
        for y in range(ny):
            out = grown[z, y]
            out[:] = 0
            for dz in range(max(-width, -z), min(width, nz - 1 - z) + 1):
                for dy in range(max(-width, -y), min(width, ny - 1 - y) + 1):
                    reach = shape[dz + width, dy + width]
                    if reach < 0 or not used[z + dz, y + dy]:
                        continue
                    bit = np.uint8(1 << reach)
                    near = wide[z + dz, y + dy]
                    for x in range(nx):
                        out[x] |= near[x] & bit
            for x in range(nx):
                out[x] = out[x] != 0


@njit
def _most(above: Array, result: Array) -> None:
    nz, ny, nx = result.shape
    rows = empty((ny + 2, nx + 2), np.uint8)
    columns = empty(nx + 2, np.uint8)
    for z in range(nz):
        for y in range(ny + 2):
            for x in range(nx + 2):
                rows[y, x] = above[z, y, x] + above[z + 1, y, x] + above[z + 2, y, x]
        for y in range(ny):
            for x in range(nx + 2):
                columns[x] = rows[y, x] + rows[y + 1, x] + rows[y + 2, x]
            for x in range(nx):
                result[z, y, x] = columns[x] + columns[x + 1] + columns[x + 2] >= 14
