"""The change of density in the region, smoothed as far as single voxels need: what report and viewer show in 3-D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xct_pipeline.report.contents import Array, Contents
from xct_pipeline.report.drawing import shown_scans, symmetric
from xct_pipeline.report.region import Part, read_part, smoothed
from xct_pipeline.store import layout

BLUR = 2.0
"""Standard deviation in voxels of the picture."""
SIDE = 96
"""Voxels of the picture along its longest side, at most."""
SCANS = 8
"""Scans that the scale is found from, at most."""
SURFACES = (0.35, 0.8)
"""Shares of the scale that surfaces are drawn at."""


@dataclass(frozen=True)
class Changes:
    """Smoothed changes of some scans on one scale.

    Attributes
    ----------
    scans : tuple of int
        Positions in order of time.
    parts : tuple of Part
        What was read of each.
    fields : tuple of numpy.ndarray
        (z, y, x) float32, 0 outside the region.
    limit : float
        Of a scale symmetric about zero.
    noise : float
        Spread of what is noise in the quietest of them.
    """

    scans: tuple[int, ...]
    parts: tuple[Part, ...]
    fields: tuple[Array, ...]
    limit: float
    noise: float

    @property
    def levels(self) -> list[float]:
        """Values that surfaces are drawn at: above the noise."""
        return [max(share * self.limit, 2 * self.noise) for share in SURFACES]


def smoothed_change(contents: Contents, t: int, side: int = SIDE) -> tuple[Part, Array]:
    """Return the region's part of a scan's change of density, and the change averaged over neighbours inside.

    Raises
    ------
    AbsentError
        There is no such image or plane.
    """
    part = read_part(contents, layout.DENSITY, t, side)
    return part, smoothed(part, BLUR)


def smoothed_changes(contents: Contents, side: int = SIDE) -> Changes:
    """Return the smoothed changes of scans spread over the series.

    Raises
    ------
    AbsentError
        There is no change of density.
    """
    chosen = tuple(shown_scans(len(contents.scans), SCANS))
    parts, fields = zip(*(smoothed_change(contents, t, side) for t in chosen), strict=True)
    inside = [field[part.inside] for field, part in zip(fields, parts, strict=True) if part.inside.any()]
    noise = min((_spread(field, part) for field, part in zip(fields, parts, strict=True) if field.any()), default=0.0)
    return Changes(chosen, parts, fields, symmetric(inside, 99.5), noise)


def _spread(field: Array, part: Part) -> float:
    """Return the spread of most of a field, which is noise where little changed: surfaces stay above it."""
    return 1.4826 * float(np.median(np.abs(field[part.inside]))) if part.inside.any() else 0.0
