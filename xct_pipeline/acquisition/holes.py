"""Parts of the half turn that no projection shows, and what they leave uncertain in the scale of grey values.

The mean of a slice is kept by the weights of the projections, the parts of it are not: each of them loses what the
missing directions would have shown of it. How much that is was measured on 14 drawn discs with a dozen ellipses
each, reconstructed with and without the hole: parts a sixth of the disc wide change by the share of the half turn
that is missing times 0.32 (standard deviation, of the disc's attenuation; times 0.14 for a third, 0.02 for two thirds),
and by 0.07 of it for holes up to 10 degrees, for which the projections beside them stand.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Angles = npt.NDArray[np.float64]
FILLED = np.radians(10.0)  # a hole for which the projections beside it stand, see `reconstruction.filters`
OF_FILLED, OF_WIDE = 0.07, 0.32  # of the missing share of the half turn
SAME = np.radians(2.0)  # to which two scans miss the same


def holes(angles: Angles) -> list[tuple[float, float]]:
    """Return where each hole begins and how wide it is beyond the usual step, radians modulo half a turn.

    A hole is a gap above four times the usual one, which is that below which the shorter gaps cover a quarter of what
    the largest gap leaves of the half turn.
    """
    folded = np.unique(np.mod(np.asarray(angles, np.float64), np.pi))
    gaps = np.diff(folded, append=folded[:1] + np.pi)
    gaps, folded = gaps[gaps > 1e-6], folded[gaps > 1e-6]
    if len(gaps) < 3:
        return []
    by_length = np.sort(gaps)
    usual = float(by_length[np.searchsorted(np.cumsum(by_length), 0.25 * by_length[:-1].sum())])
    return [(float(folded[k]), float(gaps[k] - usual)) for k in np.flatnonzero(gaps > 4 * usual)]


def scale_error(angles: Angles) -> float:
    """Return the standard error, relative, of the scale of a part of a slice that holes between angles leave.

    Parameters
    ----------
    angles : (angle,)
        Radians, any order and range.
    """
    parts = [(OF_FILLED if width <= FILLED else OF_WIDE) * width / np.pi for _, width in holes(angles)]
    return float(np.sqrt(np.sum(np.square(parts)))) if parts else 0.0


def same_holes(one: Angles, other: Angles) -> bool:
    """Tell whether two scans miss the same parts of the half turn, so that what does not change loses the same."""
    first, second = holes(one), holes(other)
    if len(first) != len(second):
        return False
    return all(
        abs(np.angle(np.exp(2j * (a - b)))) < 2 * SAME and abs(width - wide) < SAME
        for (a, width), (b, wide) in zip(sorted(first), sorted(second), strict=True)
    )
