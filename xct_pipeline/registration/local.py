"""Local displacement (digital volume correlation): where the object moves otherwise than as one rigid body.

A diagnostic: it says whether a ceramic cracks or a fragment drifts. Warping by such a field would move mass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array, to_host
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.bspline import filter_separable, gaussian_taps, knot_taps, mirror
from xct_pipeline.registration.sampling import row_room, sample_row

CONVERGED, NO_TEXTURE, OUTSIDE, NOT_CONVERGED, WEAK = range(5)
STATUS = ("converged", "no texture", "outside the data", "not converged", "weak correlation")

_MODELS = {"translation": 3, "affine": 12}


class Displacement(NamedTuple):
    """What `correlate_nodes` found; the leading axes are those of the positions."""

    vector: NDArray[np.float64]
    """(..., 3) displacement (z, y, x) in voxels beyond the start, in the reference frame; NaN unless converged"""
    correlation: NDArray[np.float64]
    """(...,) zero-normalised correlation of the window after matching"""
    residual: NDArray[np.float64]
    """(...,) RMS difference of the window after matching, both volumes smoothed, unit of the reference"""
    status: NDArray[np.int8]
    """(...,) index into `STATUS`"""
    iterations: NDArray[np.int16]


def node_grid(shape: Sequence[int], spacing: int, window: int = 32, margin: int = 4) -> NDArray[np.int64]:
    """Return the nodes of a regular grid whose windows stay `margin` voxels away from the border of a volume.

    Returns
    -------
    int64 array (nz, ny, nx, 3): index (z, y, x) of the voxel in the middle of each window (windows reach from
    ``node - window // 2`` to ``node + window // 2 - 1``). ValueError where no window fits.
    """
    span = window + 2 * margin
    if min(shape) < span:
        raise ValueError(
            f"a window of {window} voxels with a margin of {margin} does not fit into a volume of {tuple(shape)}; "
            "make it smaller"
        )
    axes = []
    for n in shape:
        count = (n - span) // spacing + 1
        first = span // 2 + (n - span - (count - 1) * spacing) // 2
        axes.append(first + spacing * np.arange(count))
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.int64)


def correlate_nodes(
    reference: Array,
    moving: Array,
    positions: ArrayLike,
    *,
    start: ArrayLike | None = None,
    window: int = 32,
    search: int = 4,
    model: str = "affine",
    smoothing: float = 0.7,
    min_correlation: float = 0.5,
    max_iterations: int = 30,
    tolerance: float = 1e-3,
) -> Displacement:
    """Match a window about every node: integer search, then sub-voxel Gauss-Newton on zero-normalised intensities.

    Parameters
    ----------
    reference, moving : arrays (z, y, x) of any sizes; a block is passed with `start` and `positions` in its own indices
    positions : (..., 3) indices (z, y, x) of the nodes in the reference
    start : 3 x 4, voxels, the rigid motion between the two (default: none); displacements are what goes beyond it
    window : voxels per side, even
    search : voxels each way of the integer search about the start (0: none)
    model : what may happen inside a window: "affine" (translation and its gradient) or "translation"
    smoothing : Gaussian standard deviation before matching, voxels
    min_correlation : below it a node is "weak correlation"
    max_iterations, tolerance : Gauss-Newton ends when the window's centre moves by less than `tolerance` voxels

    Returns
    -------
    Displacement

    Notes
    -----
    Inverse-compositional Gauss-Newton on the zero-normalised sum of squared differences (Pan et al.,
    Strain 50 (2014) 48).
    """
    if model not in _MODELS:
        raise ValueError(f'unknown model "{model}"; use one of {", ".join(_MODELS)}')
    if window < 8 or window % 2:
        raise ValueError(f"the window is {window} voxels; use an even number of at least 8")
    base = tf.identity() if start is None else np.asarray(start, np.float64)
    nodes = np.asarray(positions, np.int64)
    fixed = _filtered(reference, knot_taps(smoothing))
    coefficients = _filtered(moving, gaussian_taps(smoothing))
    flat = nodes.reshape(-1, 3)
    vector = np.full((len(flat), 3), np.nan)
    quality = np.full((len(flat), 2), np.nan)
    status = np.zeros(len(flat), np.int8)
    iterations = np.zeros(len(flat), np.int16)
    for i, node in enumerate(flat):
        warp = tf.identity()
        if search > 0:
            warp[:, 3] = _integer_search(fixed, coefficients, base, node, window, search)
        status[i], iterations[i], quality[i, 0], quality[i, 1] = _refine(
            fixed, coefficients, base, warp, node, window // 2, _MODELS[model], max_iterations, tolerance
        )
        moved = warp[:, :3] @ (node - 0.5) + warp[:, 3] - (node - 0.5)  # the middle of an even window
        if status[i] == CONVERGED and quality[i, 0] < min_correlation:
            status[i] = WEAK
        if status[i] == CONVERGED and float(np.abs(moved).max()) > search + window / 4:
            status[i] = NOT_CONVERGED
        if status[i] == CONVERGED:
            vector[i] = moved
    grid = nodes.shape[:-1]
    return Displacement(
        vector.reshape(*grid, 3),
        quality[:, 0].reshape(grid),
        quality[:, 1].reshape(grid),
        status.reshape(grid),
        iterations.reshape(grid),
    )


def strain(displacement: ArrayLike, spacing: float) -> NDArray[np.float64]:
    """Return the Green-Lagrange strain of a displacement known on a regular grid of nodes.

    Parameters
    ----------
    displacement : (nz, ny, nx, 3), voxels, NaN where a node has none
    spacing : of the nodes, voxels

    Returns
    -------
    float64 array (nz, ny, nx, 3, 3): ``(F^T F - 1) / 2``, F from a least-squares plane through the nodes of the
    3 x 3 x 3 neighbourhood; NaN where fewer than 7 of them, or none along an axis, are known.
    """
    u = np.asarray(displacement, np.float64)
    padded = np.pad(u, [(1, 1)] * 3 + [(0, 0)], constant_values=np.nan)
    shifts = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    nz, ny, nx = u.shape[:3]
    near = np.stack([padded[1 + a : 1 + a + nz, 1 + b : 1 + b + ny, 1 + c : 1 + c + nx] for a, b, c in shifts], axis=-2)
    known = np.asarray(np.isfinite(near).all(axis=-1))
    design = np.column_stack([shifts * spacing, np.ones(27)])
    weighted = design * known[..., None]
    normal = np.einsum("...ni,nj->...ij", weighted, design)
    right = np.einsum("...ni,...nk->...ik", weighted, np.where(known[..., None], near, 0.0))
    fits: NDArray[np.bool_] = np.asarray(known.sum(axis=-1) >= 7) & np.asarray(np.linalg.matrix_rank(normal) == 4)
    safe = np.where(np.expand_dims(fits, (-1, -2)), normal, np.eye(4))
    gradient = np.swapaxes(np.linalg.solve(safe, right)[..., :3, :], -1, -2)
    f = np.eye(3) + gradient
    green = 0.5 * (np.swapaxes(f, -1, -2) @ f - np.eye(3))
    return np.asarray(np.where(np.expand_dims(fits, (-1, -2)), green, np.nan))


def _filtered(volume: Array, taps: NDArray[np.float64]) -> NDArray[np.float32]:
    v = to_host(volume).astype(np.float32)
    reach = len(taps) - 1
    indices = [mirror(np.arange(-reach, n + reach, dtype=np.int64), n) for n in v.shape]
    return np.asarray(filter_separable(v, taps, indices))


def _integer_search(
    fixed: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    base: tf.Matrix,
    node: NDArray[np.int64],
    window: int,
    search: int,
) -> NDArray[np.float64]:
    """Return the shift of whole voxels with the highest zero-normalised correlation, 0 where the search finds none."""
    low, high = node - window // 2, node + window // 2
    if (low < 0).any() or (high > np.array(fixed.shape)).any():
        return np.zeros(3)
    template = fixed[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float64)
    template = template - template.mean()
    field = np.zeros((window + 2 * search,) * 3, np.float32)
    known = np.zeros(field.shape, np.bool_)
    _sample(coefficients, base, (low - search).astype(np.float64), field, known)
    if not known.all() or not np.isfinite(template).all():
        return np.zeros(3)
    wide = field.astype(np.float64) - float(field.mean())
    shape = tuple(scipy.fft.next_fast_len(n) for n in wide.shape)
    kept = tuple(slice(0, 2 * search + 1) for _ in range(3))

    def correlate(image: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        product = scipy.fft.rfftn(image, shape, workers=1) * np.conj(scipy.fft.rfftn(kernel, shape, workers=1))
        return np.asarray(scipy.fft.irfftn(product, shape, workers=1))[kept]

    ones = np.ones(template.shape)
    variance = correlate(wide**2, ones) - correlate(wide, ones) ** 2 / ones.size
    score = correlate(wide, template) / np.sqrt(np.maximum(variance, 1e-12 * max(float((wide**2).sum()), 1e-30)))
    best = np.array(np.unravel_index(int(np.argmax(score)), score.shape))
    return (best - search).astype(np.float64)


@njit
def _sample(coefficients: Array, transform: Array, low: Array, out: Array, known: Array) -> None:
    """Evaluate the moving volume on a box of the reference frame that starts at `low`."""
    shifted = transform.copy()
    shifted[:, 3] += transform[:, 2] * low[2]
    room = row_room(out.shape[2])
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            known[z, y, :] = True
            row = out[z, y]
            sample_row(coefficients, shifted, low[0] + z, low[1] + y, known[z, y], 0, len(coefficients), 1, room, row)


@njit
def _normal_matrix(fixed: Array, node: Array, half: int, n: int) -> Any:
    hessian = zeros((n, n), np.float64)
    j = empty(12, np.float64)
    for z in range(node[0] - half, node[0] + half):
        for y in range(node[1] - half, node[1] + half):
            for x in range(node[2] - half, node[2] + half):
                _jacobian(fixed, z, y, x, node, half, j)
                for a in range(n):
                    for b in range(n):
                        hessian[a, b] += j[a] * j[b]
    return hessian


@njit(inline="always")
def _jacobian(fixed: Array, z: int, y: int, x: int, node: Array, half: int, j: Array) -> None:
    """Fill the derivative by translation (3) and by its gradient (9), positions in units of half a window."""
    j[0] = 0.5 * (fixed[z + 1, y, x] - fixed[z - 1, y, x])
    j[1] = 0.5 * (fixed[z, y + 1, x] - fixed[z, y - 1, x])
    j[2] = 0.5 * (fixed[z, y, x + 1] - fixed[z, y, x - 1])
    uz, uy, ux = (z - node[0] + 0.5) / half, (y - node[1] + 0.5) / half, (x - node[2] + 0.5) / half
    for a in range(3):
        j[3 + 3 * a] = j[a] * uz
        j[4 + 3 * a] = j[a] * uy
        j[5 + 3 * a] = j[a] * ux


@njit
def _refine(
    fixed: Array,
    coefficients: Array,
    base: Array,
    warp: Array,
    node: Array,
    half: int,
    n: int,
    max_iterations: int,
    tolerance: float,
) -> Any:
    """Match one window; `warp` (3 x 4, about the reference's origin) is changed to the result."""
    nan = np.nan
    for axis in range(3):
        if node[axis] - half < 1 or node[axis] + half + 1 > fixed.shape[axis]:
            return 2, 0, nan, nan
    patch = fixed[node[0] - half : node[0] + half, node[1] - half : node[1] + half, node[2] - half : node[2] + half]
    mean_r = patch.astype(np.float64).mean()
    spread_r = np.sqrt(((patch - mean_r) ** 2).mean())
    if not spread_r > 1e-6 * abs(mean_r) or spread_r == 0.0:
        return 1 if spread_r >= 0.0 else 2, 0, nan, nan
    hessian = _normal_matrix(fixed, node, half, n)
    scale = np.sqrt(np.diag(hessian))
    if scale.min() == 0.0:
        return 1, 0, nan, nan
    normal = hessian / scale.reshape(n, 1) / scale.reshape(1, n)
    if np.linalg.eigvalsh(normal)[0] < 1e-6:
        return 1, 0, nan, nan
    inverse = np.linalg.inv(normal)
    values, known = empty(patch.shape, np.float32), empty(patch.shape, np.bool_)
    low = (node - half).astype(np.float64)
    middle = node - 0.5
    j = empty(12, np.float64)
    right = empty(n, np.float64)
    correlation, residual = nan, nan
    for iteration in range(1, max_iterations + 1):
        whole = empty((3, 4), np.float64)
        for a in range(3):
            for b in range(4):
                whole[a, b] = base[a, 0] * warp[0, b] + base[a, 1] * warp[1, b] + base[a, 2] * warp[2, b]
            whole[a, 3] += base[a, 3]
        _sample(coefficients, whole, low, values, known)
        if not known.all():
            return 2, iteration, nan, nan
        mean_m = values.astype(np.float64).mean()
        spread_m = np.sqrt(((values - mean_m) ** 2).mean())
        if spread_m == 0.0:
            return 1, iteration, nan, nan
        gain = spread_r / spread_m
        right[:] = 0.0
        squares = 0.0
        for z in range(2 * half):
            for y in range(2 * half):
                for x in range(2 * half):
                    r = (patch[z, y, x] - mean_r) - gain * (values[z, y, x] - mean_m)
                    squares += r * r
                    _jacobian(fixed, z + node[0] - half, y + node[1] - half, x + node[2] - half, node, half, j)
                    for a in range(n):
                        right[a] += j[a] * r
        residual = np.sqrt(squares / patch.size)
        correlation = 1.0 - 0.5 * (residual / spread_r) ** 2
        step = -(inverse @ (right / scale)) / scale
        _compose_inverse(warp, step, middle, half, n)
        if np.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2) < tolerance:
            return 0, iteration, correlation, residual
    return 3, max_iterations, correlation, residual


@njit
def _compose_inverse(warp: Array, step: Array, middle: Array, half: int, n: int) -> None:
    """Replace `warp` by warp after the inverse of the step ``p -> p + t + G (p - middle)``."""
    forward = np.eye(3)
    if n == 12:
        for a in range(3):
            for b in range(3):
                forward[a, b] += step[3 + 3 * a + b] / half
    linear = np.linalg.inv(forward)
    back = middle - linear @ (middle + step[:3])
    old = warp[:, :3].copy()
    warp[:, 3] += old @ back
    warp[:, :3] = old @ linear
