"""Defective columns in rows that could not be told from the sample by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xct_pipeline.correction.defects.find import Defects, Floats, interpolate_dead, with_offset
from xct_pipeline.correction.defects.search import ISOLATED, isolated_with_image, local_scatter
from xct_pipeline.device import to_host

LEAST = 4  # rows that tell something together
WINDOW = 48  # columns to either side, whose scatter tells what is significant
SMOOTH = 0.4  # of a defect, that its mirror image may stand out by
ALIKE = 0.2  # relative difference of light up to which a defect is about as large


def along_rows(
    found: Defects,
    statistics: Sequence[Any],
    *,
    centers: Sequence[float] | None = None,
    snr: float = 5.0,
    minimum: float = 5e-4,
    share: float = 0.4,
    reach: int = 32,
) -> Defects:
    """Correct the rest of a defective column, where single rows could not be told from the sample.

    A column of the detector that is defective in many rows is defective in those between too, where a wall of the
    sample beside it (or noise) hides it. A row takes the median offset of the rows around it that see about the same
    light, provided that most of what could be judged there was found. Else the rows that see the same light are
    averaged, in the profiles less their mirror image, where walls are gone. If that shows about the offset of all rows
    around, they take it; if it shows another that stands out (how large a defect is may depend on the light: strong
    behind a ceramic, below the noise of a row behind an anode), they take what it shows.

    Parameters
    ----------
    found : Defects
        From `find_defects`, all rows of the detector.
    statistics : sequence of arrays (SEGMENTS + 1, row, column)
        The same as there.
    centers : sequence of float, optional
        Rotation axis of each scan in columns; without it, rows of other light are left.
    snr, minimum
        As for `find_defects`, of averaged rows.
    share : float
        Of the rows around with similar light, in which the column must have been found.
    reach : int
        Rows to either side.

    Returns
    -------
    Defects
        With more offsets, never fewer.
    """
    seen = _pooled(found, statistics, centers)
    offset = found.offset.copy()
    for column in np.flatnonzero((found.offset != 0).sum(axis=0) >= LEAST).tolist():
        light = seen.light[:, column]
        for row in np.flatnonzero((found.offset[:, column] == 0) & ~found.dead[:, column]).tolist():
            near = slice(max(0, row - reach), row + reach + 1)
            given = found.offset[near, column]
            alike = np.abs(light[near] - light[row]) < ALIKE * light[row]
            used = given[alike & (given != 0)]
            if len(used) >= LEAST and _same_sign(used) >= share * alike.sum():
                offset[row, column] = np.median(used)
                continue
            used = given[given != 0]
            enough = len(used) >= LEAST and _same_sign(used) >= 0.5 * share * len(given)
            guess = float(np.median(used)) if enough else 0.0
            hidden = near.start + np.flatnonzero(alike & (given == 0) & ~found.dead[near, column])
            offset[row, column] = _of_averaged_rows(seen, hidden, column, guess, snr, minimum)
    return with_offset(found, offset)


class _Pooled(NamedTuple):
    """What all scans together show, each (row, column).

    Light; how far a column stands out, less that of its mirror image; the latter; standard error of line integrals.
    """

    light: Floats
    odd: Floats
    image: Floats
    error: Floats


def _pooled(found: Defects, statistics: Sequence[Any], centers: Sequence[float] | None) -> _Pooled:
    """Add up scans one after the other, because those of a large detector are large."""
    total, odd, images, variance = (np.zeros(found.offset.shape) for _ in range(4))
    for k, measured in enumerate(statistics):
        scan = np.asarray(to_host(measured))
        mean = scan[:-1].mean(axis=0, dtype=np.float64)
        total += mean
        variance += scan[-1].astype(np.float64) ** 2
        if centers is not None:
            own, image = isolated_with_image(interpolate_dead(mean[None], found.dead)[0] - found.offset, centers[k])
            odd += own - image
            images += image
    count = len(statistics)
    return _Pooled(np.exp(-total / count), odd / count, images / count, np.sqrt(variance) / count)


def _of_averaged_rows(
    pooled: _Pooled, rows: npt.NDArray[np.intp], column: int, guess: float, snr: float, minimum: float
) -> float:
    """Return the offset of a column that some rows show together, or `guess` where that is about it."""
    first = max(0, column - WINDOW)
    odd = pooled.odd[rows, first : column + WINDOW + 1].mean(axis=0)
    size = float(odd[column - first])
    if abs(size - guess) < 0.6 * abs(guess):
        return guess
    # the mirror image has noise, too
    noise = np.linalg.norm(ISOLATED) * np.sqrt(2 * (pooled.error[rows, column] ** 2).mean() / len(rows))
    if len(rows) < LEAST or abs(size) <= max(minimum, snr * noise):
        return 0.0
    # what a wall leaves in the difference is smaller than the wall
    wall = np.abs(pooled.image[rows, max(0, column - 1) : column + 2].mean(axis=0)).max()
    scatter = local_scatter(odd[None])[0, column - first]
    return size if abs(size) > max(snr * scatter, wall / SMOOTH) else 0.0


def _same_sign(values: npt.NDArray[Any]) -> int:
    return int(max((values > 0).sum(), (values < 0).sum()))
