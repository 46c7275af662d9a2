"""Counts of projections and flats held against each other: clipped, in coarse steps, rows that no light falls on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.selection import runs_in_words

Floats = npt.NDArray[np.floating[Any]]
CLIPPED = 0.002  # share of the pixels that hold the largest count, beside 8 times what the counts below are held by
LEAST_PIXELS = 20
LEAST_COUNTS = 6  # different counts in two frames, below which nothing was measured
NO_LIGHT = 0.01  # of the light of the other rows
EXPOSURE = 1.5  # air in projections against the flats, from which on it is no drift of a beam


def count_notes(projections: Any, flats: Any) -> list[str]:
    """Say where projections are clipped and flats are not, and where digits of the counts were lost.

    Parameters
    ----------
    projections, flats : array (frame, row, column)
        Counts of a few frames as they were written.
    """
    if len(np.union1d(projections[0], flats[0])) < LEAST_COUNTS:
        return []
    notes = []
    top, share = clipped(projections)
    if share and float(np.quantile(flats, 0.9)) > top:
        notes.append(
            f"projections end at {top:g} counts, held by {100 * share:.2g} % of their pixels, while the flats reach "
            f"{float(np.max(flats)):g}: clipped; attenuation is wrong there"
        )
    step, noise = coarse_step(projections, flats)
    if step > max(noise, 1.0):
        notes.append(
            f"counts come in steps of {step:g}, though they fluctuate by {noise:.2g} only: their last digits were lost "
            "when they were written; errors do not hold"
        )
    return notes


def clipped(frames: Any) -> tuple[float, float]:
    """Return the largest count, and the share of the pixels that hold it where far more do than counts below it."""
    top = frames.max()
    count = int(np.count_nonzero(frames == top))
    if count < max(LEAST_PIXELS, CLIPPED * frames.size):
        return float(top), 0.0
    below, counts = np.unique(frames[frames < top], return_counts=True)
    if len(below) and count < 8 * counts[-min(len(below), 16) :].max():
        return float(top), 0.0
    return float(top), count / frames.size


def coarse_step(projections: Any, flats: Any) -> tuple[float, float]:
    """Return the largest step that all counts are multiples of apart, and the noise of a flat; step 1 where not whole.

    Noise is what two flats differ by; a camera of 12 bits that writes 16 has steps of 16, and noise far above.
    """
    few = np.concatenate([np.asarray(part[:2]).ravel() for part in (projections, flats)])
    if few.dtype.kind == "f" and not (np.isfinite(few).all() and np.array_equal(few, np.round(few))):
        return 1.0, 0.0
    whole = few.astype(np.int64)
    step = int(np.gcd.reduce(whole - whole.min()))
    if step <= 1 or len(flats) < 2:
        return 1.0, 0.0
    return float(step), float(np.std(np.asarray(flats[1], np.float64) - np.asarray(flats[0], np.float64)) / np.sqrt(2))


def rows_without_light(light: Floats) -> list[str]:
    """Say which rows of the detector hold hardly any light in the flats.

    Parameters
    ----------
    light : array (row, column)
        Counts of the flats above the darks.
    """
    usable = np.isfinite(light).any(axis=1)
    if usable.sum() < 2:
        return []
    level = np.full(len(light), np.nan)
    level[usable] = np.nanmedian(light[usable], axis=1)
    usual = float(np.nanquantile(level, 0.75))
    dark = np.flatnonzero(level < NO_LIGHT * usual)
    if not len(dark):
        return []
    which = f"row{'s' * (len(dark) > 1)} {runs_in_words(dark)}"
    return [
        f"{which} of the detector: less than {100 * NO_LIGHT:g} % of the light of the others in the flats; the beam "
        "does not reach there, or they are dead; attenuation is wrong there, choose rows without them"
    ]


def exposure_note(air: Floats) -> list[str]:
    """Say that air is far brighter or darker in projections than in the flats.

    Parameters
    ----------
    air : array (angle,) or (angle, 2)
        Factors that make air 1.
    """
    bright = 1 / float(np.median(air))
    if 1 / EXPOSURE < bright < EXPOSURE:
        return []
    return [
        f"air is {bright:.3g} times as bright in the projections as in the flats: another exposure, gain or scale of "
        "counts; projections are scaled to air, which is right only where the darks fit both"
    ]
