"""Regularised stripe removal by S. Titarenko et al., Appl. Math. Lett. 23, 1489 (2010)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy

from xct_pipeline.correction.stripes.common import each_row
from xct_pipeline.device import Array, array_namespace, to_host

DIFFERENCES = {1: np.array([1.0, -1.0]), 2: np.array([-1.0, 2.0, -1.0])}


def remove_stripe_titarenko(
    block: Array,
    *,
    order: Literal[1, 2, "product"] = 1,
    regularization: float | None = None,
    blocks: int = 1,
    alpha: float = 1.5,
) -> Any:
    """Add to every column the constant that makes the mean over angles smooth across columns.

    With m the mean over angles and D the difference of the given order across columns, the constants q
    minimise ``|D (m + q)|^2 + regularization |q|^2``: a small regularization flattens everything that is
    constant in angle. Only full stripes are corrected, unless the scan is cut into blocks of angles.

    Parameters
    ----------
    block : array (angle, row, column) of line integrals
    order : 1, 2 or 'product'
        Order of the difference. 'product' is the variant of Miqueles et al. (eq. of their method in tomopy):
        the geometric mean of the results of orders 1 and 2, shifted to be positive by `alpha` times the
        modulus of the smallest product. It rectifies the noise where line integrals are about zero.
    regularization : float or None
        None takes the reciprocal of twice the spread, over angles, of the sum over columns, as the second
        paper does; without any spread nothing can be told to be a stripe and nothing is changed.
    blocks : int
        Number of blocks of angles that are corrected one by one.
    alpha : float
        Shift in the variant 'product' only.

    Returns
    -------
    float32 array (angle, row, column)

    Raises
    ------
    ValueError
        For an unknown order, fewer than one block, or a regularization that is not positive.

    References
    ----------
    S. Titarenko, P. J. Withers and A. Yagola, Appl. Math. Lett. 23, 1489 (2010),
    doi:10.1016/j.aml.2010.08.022. E. X. Miqueles, J. Rinkel, F. O'Dowd and J. S. V. Bermúdez,
    J. Synchrotron Rad. 21, 1333 (2014), doi:10.1107/S1600577514016919.
    """
    if order not in (1, 2, "product"):
        raise ValueError(f"order must be 1, 2 or 'product', not {order!r}")
    if blocks < 1:
        raise ValueError(f"a scan cannot be cut into {blocks} blocks of angles")
    if regularization is not None and not regularization > 0:
        raise ValueError(f"regularization must be positive, not {regularization}")

    def correct(sinogram: Array) -> Any:
        if order != "product":
            return sinogram + _offsets(sinogram, order, regularization, blocks)
        first = sinogram + _offsets(sinogram, 1, regularization, blocks)
        product = first * (sinogram + _offsets(sinogram, 2, regularization, blocks))
        # Rounding can leave the smallest sum a hair below zero where alpha is 1.
        return array_namespace(sinogram).sqrt((product + alpha * abs(product.min())).clip(0, None))

    return each_row(block, correct)


def _offsets(sinogram: Array, order: int, regularization: float | None, blocks: int) -> Any:
    """What to add to each value of a sinogram: one constant per column and block of angles."""
    xp = array_namespace(sinogram)
    angles, columns = sinogram.shape
    offsets = np.zeros((angles, columns), np.float32)
    for part in np.array_split(np.arange(angles), min(blocks, angles)):
        piece = sinogram[part[0] : part[-1] + 1]
        mean = to_host(piece.mean(axis=0, dtype=np.float64))
        totals = to_host(piece.sum(axis=1, dtype=np.float64))
        spread = totals.max() - totals.min()
        if regularization is None and spread <= 1e-6 * np.abs(totals).max():
            continue
        weight = regularization if regularization is not None else 1 / (2 * spread)
        offsets[part] = _solve(mean, DIFFERENCES[order], weight)
    return xp.asarray(offsets)


def _solve(mean: np.ndarray[Any, Any], kernel: np.ndarray[Any, Any], weight: float) -> np.ndarray[Any, Any]:
    """Solve (D'D + weight) q = -D'D mean, a banded positive definite system."""
    count, length = mean.size, kernel.size
    bands = np.zeros((length, count))
    inside = np.ones(count - length + 1)
    for first in range(length):
        for second in range(first, length):
            bands[second - first, first : first + inside.size] += kernel[first] * kernel[second] * inside
    target = -np.convolve(np.convolve(mean, kernel[::-1], mode="valid"), kernel)
    bands[0] += weight
    return np.asarray(scipy.linalg.solveh_banded(bands, target, lower=True))
