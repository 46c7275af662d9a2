"""Predictions of a gap in a profile from its flanks, as filters: what `defect_search` looks for defects with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FLANK = 5  # columns on either side from which the gap is predicted


@dataclass(frozen=True)
class Template:
    """Least-squares prediction of a gap from its flanks (parabola plus a step), as filters over the window.

    first is where in the window the gap begins; deviation (window,), step (window,), residual (used columns, window),
    each (width, window).
    """

    first: int
    width: int
    deviation: Floats
    step: Floats
    residual: Floats
    each: Floats


def single_gap(width: int) -> Template:
    """Filters for a gap of `width` columns between two flanks."""
    side = np.repeat([-1.0, 0.0, 1.0], [FLANK, width, FLANK])
    return _filters(FLANK, width, side == 0, side)


def _pair(left: int, between: int, right: int) -> tuple[Template, Template]:
    """Filters for each of two gaps with `between` good columns between them; both are left out of the prediction.

    The step is from one outer flank to the other, with the columns between on half of it: they must lie on the
    parabola, or the two gaps are the edges of something wider.
    """
    span = left + between + right
    side = np.repeat([-1.0, 0.0, 1.0], [FLANK, span, FLANK])
    gaps = side == 0
    gaps[FLANK + left : FLANK + left + between] = False
    return _filters(FLANK, left, gaps, side), _filters(FLANK + left + between, right, gaps, side)


def _filters(first: int, width: int, left_out: Bools, side: Floats) -> Template:
    """Filters for the gap at `first`, predicted from what is not left out; `side` is the shape of the step."""
    n, used = side.size, ~left_out
    x = np.arange(n) - (n - 1) / 2
    basis = np.stack((x**0, x, x**2, side), axis=1)
    fit = np.zeros((4, n))
    fit[:, used] = np.linalg.pinv(basis[used])
    gap = slice(first, first + width)
    each = np.eye(n)[gap] - basis[gap, :3] @ fit[:3]
    residual = (np.eye(n) - basis @ fit)[used] / np.sqrt(np.count_nonzero(used) - 4)
    return Template(first, width, each.mean(axis=0), 2 * fit[3], residual, each)


@cache
def all_templates(max_width: int) -> tuple[list[Template], list[tuple[Template, Template]]]:
    """Every gap, and every pair of gaps in each other's flanks."""
    widths = range(1, max_width + 1)
    pairs = itertools.product(widths, range(1, FLANK), widths)
    return [single_gap(w) for w in widths], [_pair(*p) for p in pairs]
