"""The centre of rotation from the match of a scan with its mirror image, in spite of rings and of a wobbling stage."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.reconstruction.center.half_turns import HalfTurns, resample
from xct_pipeline.reconstruction.center.jitter import counts_of_projections, jitter_of
from xct_pipeline.reconstruction.center.pair import PairCenter, center_from_pair, center_from_turns, coarse_center
from xct_pipeline.reconstruction.center.pattern import FINE, WIDTHS, fixed_pattern, noise_beside, unlike_mirrored
from xct_pipeline.reconstruction.center.rows import clean, outlying_columns, unlike_mirror_image, values_of_rows
from xct_pipeline.reconstruction.center.values import center_from_values, misfit

Array = npt.NDArray[Any]
WEAK_MISFIT = 0.1  # of values half a turn apart, above which they do not tell the centre
FEW_COUNTS, WIDE_MATCH = 3.0, 0.4  # smoothing of noisy projections against the usual, and how well they have to match
WEAK_MATCH = 0.2  # correlation below which two projections half a turn apart show no common structure
JITTER_ROWS = 2  # that tell how much each projection counts
PATTERN = 0.02  # share of the line integrals from which rings are taken out
COARSE_PATTERN = 0.06  # the same of rings some columns wide, of which smooth parts of the sample may show half
LITTLE = 0.003  # what the sample itself shows of a pattern that is not alike on both sides
PULL = 8.0  # pixels that a pattern in all rows as strong as the sample would move the centre by
PAIRS = 16  # of a whole turn, for what few pairs decide well enough


def facing_pairs(sinograms: Array, turns: HalfTurns, most: int) -> tuple[Array, Array]:
    """Up to `most` pairs of projections (pair, row, column), half a turn apart or as near to it as there are."""
    if turns.kind == "full":
        first = np.unique(np.linspace(0, turns.steps - 1, min(most, turns.steps)).astype(int))
        stacks = [resample(sinograms[:, r], turns, 0.0, 2 * turns.steps) for r in range(sinograms.shape[1])]
        both = [np.stack([s[first + i] for s in stacks], axis=1) for i in (0, turns.steps)]
        return both[0], both[1]
    last = int(np.argmin(np.abs(turns.theta - np.pi)))
    return sinograms[turns.order[[0]]], sinograms[turns.order[[last]]]


def register_despite_rings(
    data: Array, turns: HalfTurns, search: tuple[float, float] | None
) -> tuple[PairCenter, Array, list[str], float]:
    """Registration, without what all angles have in common where strong rings would decide.

    Returns what `register` does, warnings, and the standard error that taking the pattern out adds.
    """
    found, problem = None, None
    try:
        found, table = register(data, turns, search)
        strength, common = unlike_mirrored(fixed_pattern(data, FINE), data, found.center)
        coarse, _ = unlike_mirrored(fixed_pattern(data, WIDTHS[0]), data, found.center)
        if strength < PATTERN and coarse < COARSE_PATTERN:  # what differs from row to row is in their scatter
            return found, table, [], PULL * max(common - LITTLE, 0.0)
    except ValueError as refused:
        problem = refused
    try:
        (without, table), (other, _) = (register(data - fixed_pattern(data, w), turns, search) for w in WIDTHS)
    except ValueError:
        if found is None:
            raise problem or ValueError("the centre of rotation was not found") from None
        return found, table, [], 0.0
    patterns = {width: fixed_pattern(data, width) for width in (FINE, WIDTHS[0])}
    strengths = {width: unlike_mirrored(rings, data, without.center)[0] for width, rings in patterns.items()}
    strength = strengths[FINE]
    error = float(np.hypot(without.center - other.center, 0.1 + 2 * strength))
    if all(math.sqrt(2) * strengths[w] < noise_beside(data, patterns[w], w) for w in patterns):
        return without, table, [], error  # the noise of even one flat makes as much
    warning = (
        f"strong rings: columns differ by {100 * strength:.2g} % of the sample's line integrals at all angles alike; "
        f"the centre was found without them, to about {error:.1g} pixels"
    )
    return without, table, [warning], error


def register(data: Array, turns: HalfTurns, search: tuple[float, float] | None) -> tuple[PairCenter, Array]:
    """Registration from coarse to fine; also returns the sinograms with outlying columns left out."""
    columns = data.shape[-1]
    values = values_of_rows(data)
    pairs = facing_pairs(data, turns, PAIRS)
    bad = [outlying_columns(row) for row in values]
    first, second = (clean(half, bad) for half in pairs)
    start, match, chance = coarse_center(first.reshape(-1, columns), second.reshape(-1, columns))
    if match < max(WEAK_MATCH, 5 * chance) and turns.kind == "full":
        smooth = center_from_values(first, second)
        if smooth.misfit < WEAK_MISFIT:
            start, match = smooth.center, 1 - smooth.misfit
    if match < max(WEAK_MATCH, 5 * chance):  # edges a few columns wide stand out of noise that single columns hide
        wide, its_match, its_chance = coarse_center(
            first.reshape(-1, columns), second.reshape(-1, columns), widening=FEW_COUNTS
        )
        if its_match >= max(WIDE_MATCH, 5 * its_chance):
            start, match, chance = wide, its_match, 0.0
    if match < max(WEAK_MATCH, 5 * chance):
        raise ValueError(
            f"the centre of rotation was not found: projections half a turn apart match at most {match:.2f} of 1; "
            "choose rows with more structure, check the angles, or give the centre"
        )
    for _ in range(2):
        bad = unlike_mirror_image(values, *pairs, start)
        pair = center_from_pair(*(clean(half, bad) for half in pairs), start=start)
        start = pair.center
    table = clean(data, bad)
    found = center_from_turns(table, turns, pair.center, pull=pair.pull)
    low, high = search if search is not None else (0.0, columns - 1.0)
    if not low <= found.center <= high:
        raise ValueError(
            f"the centre of rotation {found.center:.2f} lies outside the columns {low:g} to {high:g} searched; "
            "widen the search or give the centre"
        )
    return found, table


def by_values_if_better(found: PairCenter, first: Array, second: Array) -> PairCenter:
    """Take the centre at which values agree half a turn apart, where they agree far better than at what was found."""
    values = center_from_values(first, second)
    if values.misfit > 0.25 * misfit(first, second, found.center):
        return found
    moved = found.row_center + values.center - found.center
    return replace(found, center=values.center, sigma=values.sigma, sigma_of_noise=values.sigma, row_center=moved)


def error_of_jitter(table: Array, turns: HalfTurns, found: PairCenter) -> float:
    """Return the part of the centre's standard error that random shifts of single projections make, pixels."""
    jitter = jitter_of(table, turns.theta)
    if jitter == 0:
        return 0.0
    best = np.argsort(-found.row_weight, kind="stable")[:JITTER_ROWS]
    counts = counts_of_projections(table[:, best], turns, found.center)
    return jitter * float(np.sqrt((counts**2).sum()))
