"""The margin of air at the edges of a scan's projections, and the level of air there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xct_pipeline.config import Air
from xct_pipeline.correction import air
from xct_pipeline.correction.steps.frames import strange_to_air
from xct_pipeline.engine.blocks import Array


def margin_of(
    settings: Air, sample: Array, angles: Array, has_flats: bool, notes: list[str]
) -> tuple[air.Margin | None, list[int]]:
    """Return the margin of air, and the projections without which alone there is one, or one at both edges.

    Parameters
    ----------
    settings : Air
    sample : array (angle, row, column)
        Transmission, not scaled.
    angles : (angle,)
        Radians.
    has_flats : bool
        Without flats there is nothing to scale.
    notes : list of str
        What is worth telling is added.
    """
    if settings.method == "none" or not has_flats:
        return None, []
    if settings.margin is not None:
        return air.Margin(*settings.margin), []
    margin = air.find_margin(sample)
    if _edges(margin) < 2:
        strange = strange_to_air(sample, angles)
        without_them = air.find_margin(np.delete(sample, strange, axis=0)) if strange else None
        if _edges(without_them) > _edges(margin):
            return without_them, strange
    if margin is None:
        notes.append(
            "no margin of air at the detector's edges: projections are not scaled to air; "
            "drift of the beam stays in the result"
        )
    return margin, []


def _edges(margin: air.Margin | None) -> int:
    return 0 if margin is None else (margin.left > 0) + (margin.right > 0)


def level_of(sample: Array, margin: air.Margin, left_out: Sequence[int]) -> Array:
    """Return the factors that make air 1 in a sample of rows, 1 for projections that are left out."""
    kept = np.setdiff1d(np.arange(len(sample)), left_out)
    whole = np.ones(len(sample), np.float32)
    whole[kept] = air.air_scale(sample[kept] if left_out else sample, margin)
    return whole
