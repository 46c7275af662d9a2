"""Flats that age: what the beam's profile does between flats, from the flats' principal components and from air.

The light at a moment is that of the mean flat times ``1 + sum_k w_k u_k``, where the eigen flats u_k are the
principal components of all flats, as many as exceed what noise makes, and the weights w_k belong to one projection
(dynamic flat-field correction: Van Nieuwenhove et al., Opt. Express 23, 27975 (2015)). There the weights make the
projection smooth, which takes an iteration for each and mistakes the sample for the beam. Here they are the linear
least squares on the air at both edges, where nothing but the beam is seen.

A monochromator's bands run along the rows from edge to edge. What air shows of them beyond the eigen flats, and
flats of another hour cannot know, is taken from air itself: its principal components along the rows, found in two
halves of the columns that share no noise, and linear between the edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import empty, njit
from xct_pipeline.correction.parallel import significant

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
MOST = 6  # components that are looked for
BLOCKS = 96  # blocks of projections in a row in which bands are looked for
GROUPS, COLUMNS = 4, 32  # groups of columns at each edge, and the most columns there that are looked at
CLIP = 6.0  # standard deviations beyond which a mean of columns is cut
ACROSS = 0.5  # correlation of the two edges below which bands do not run across the field


@dataclass(frozen=True)
class Bands:
    """Bands along the rows that air shows.

    Attributes
    ----------
    ends : numpy.ndarray of float64 (component, row, 2)
        Relative light at the middles of the air at the left and the right edge, of r.m.s. 1.
    across : float
        Correlation of the two edges in what both show beyond noise; nan where nothing is shown.
    """

    ends: Floats
    across: float


# ------------------------------------------------------------------------------------------ air at the edges


def edge_groups(left: int, right: int, columns: int) -> npt.NDArray[np.intp]:
    """Return the columns of the groups (group, 2), from and to, in which air is averaged; those of the left first.

    Empty groups stand for an edge without air.
    """
    found = []
    for width, begin, step in ((left, 0, 1), (right, columns, -1)):
        used = min(width, COLUMNS)
        edges = np.linspace(0, used, GROUPS + 1).astype(int)
        pairs = [(begin + step * a, begin + step * b) for a, b in pairwise(edges)]
        found += [(min(pair), max(pair)) for pair in pairs]
    return np.array(found, np.intp)


@njit
def edge_ratios(counts, dark, flat, groups):  # type: ignore[no-untyped-def]
    """Return mean transmissions of groups of columns (angle, row, group), the extremes of five or more left out.

    Parameters
    ----------
    counts : array (angle, row, column)
    dark, flat : float32 array (row, column)
        The dark is not subtracted from the flat.
    groups : array (group, 2)
        First column and the one after the last.
    """
    n_angles, n_rows, _ = counts.shape
    out = empty((n_angles, n_rows, len(groups)), np.float32)
    for a in range(n_angles):
        for r in range(n_rows):
            for g in range(len(groups)):
                total, count = 0.0, 0
                low, high = np.inf, -np.inf
                for c in range(groups[g, 0], groups[g, 1]):
                    t = (np.float64(counts[a, r, c]) - dark[r, c]) / (flat[r, c] - dark[r, c])
                    if abs(t) < np.inf:
                        total += t
                        count += 1
                        low, high = min(low, t), max(high, t)
                if count >= 5:
                    total -= low + high
                    count -= 2
                out[a, r, g] = total / count if count else np.nan
    return out


def edge_changes(ratios: Singles) -> Singles:
    """Return by what share air deviates from its level in the projection.

    A value that differs from those just before and after it by more than noise is a hit, and becomes their median.
    Defective pixels are taken from the other groups at their edge.

    Parameters
    ----------
    ratios : array (angle, row, group)
        From `edge_ratios`, binned or not.
    """
    known = np.isfinite(ratios) & (ratios > 0)
    usable = np.flatnonzero(known.any(axis=(0, 1)))
    known, kept = known[..., usable], ratios[..., usable]
    level = np.nanmedian(np.where(known, kept, np.nan), axis=(1, 2)).astype(np.float32)
    change = np.where(known, kept / level[:, None, None] - 1, np.float32(0))
    before, after = np.roll(change, 1, axis=0), np.roll(change, -1, axis=0)
    before[0], after[-1] = after[0], before[-1]
    middle = np.maximum(np.minimum(before, after), np.minimum(np.maximum(before, after), change))
    some = np.abs(change - before)[:: max(1, len(change) // 64)]
    hit = np.abs(change - middle) > CLIP * 1.483 * float(np.median(some)) + 1e-6
    change[hit] = middle[hit]
    for side in (usable < GROUPS, usable >= GROUPS):
        if side.any():
            change[..., side] = _without_defects(change[..., side], known[..., side])
    mean = change.mean(axis=(1, 2), keepdims=True)
    whole = np.zeros(ratios.shape, np.float32)
    whole[..., usable] = (change - mean) / (1 + mean)
    return whole


def _without_defects(change: Singles, known: npt.NDArray[np.bool_]) -> Singles:
    """Return the changes at one edge (angle, row, group) with groups that hold a defect taken from the others."""
    usual = np.where(known.any(axis=0), change.mean(axis=0, dtype=np.float64), np.nan)
    with np.errstate(invalid="ignore"):
        apart = usual - np.median(np.nan_to_num(usual), axis=1, keepdims=True)
        apart -= np.nanmedian(apart, axis=0)
        odd = ~(np.abs(apart) <= CLIP * 1.483 * np.nanmedian(np.abs(apart)) + 1e-6)
    good = (~odd).astype(np.float32)
    others = (change * good).sum(axis=2) / np.maximum(good.sum(axis=1), 1)
    return np.where(odd, others[..., None], change)


def mode_changes(images: Singles, groups: npt.NDArray[np.intp], rows: int) -> Floats:
    """Return what modes are in the groups of columns (component, row, group), in `rows` bins of rows."""
    found = np.zeros((len(images), images.shape[1], len(groups)))
    for g, (first, stop) in enumerate(groups):
        if stop > first:
            found[..., g] = images[..., first:stop].mean(axis=2)
    return np.asarray(bin_rows(found, rows))


def bin_rows(values: Any, rows: int) -> Any:
    """Return means over about equal runs of rows, the second axis."""
    edges = np.linspace(0, values.shape[1], rows + 1).astype(int)
    if len(edges) == values.shape[1] + 1:
        return values
    total = np.add.reduceat(values, edges[:-1], axis=1)
    return total / np.diff(edges).reshape(1, -1, *[1] * (values.ndim - 2)).astype(values.dtype)


def weights_of(changes: Singles, modes: Floats, used: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Fit modes to the air of each projection.

    Parameters
    ----------
    changes : array (angle, row, group)
    modes : array (component, row, group)
        Of mean 0 over the groups that are used, as the changes are: the level is that of air.
    used : array of bool (group,)

    Returns
    -------
    weights : numpy.ndarray (angle, component)
    sigma : numpy.ndarray (component,)
        Standard error of a single weight, by what is left unexplained.
    """
    n, k = len(changes), len(modes)
    if not k:
        return np.zeros((n, 0)), np.zeros(0)
    design = modes[..., used].reshape(k, -1)
    values = changes[..., used].reshape(n, -1).astype(np.float64)
    normal = design @ design.T
    inverse = np.linalg.pinv(normal, rcond=1e-8, hermitian=True)
    weights = values @ design.T @ inverse
    rest = values - weights @ design
    variance = float(np.mean(rest**2)) * values.shape[1] / max(values.shape[1] - k - 1, 1)
    return weights, np.sqrt(variance * np.maximum(np.diag(inverse), 0))


def halves_of(changes: Singles, used: npt.NDArray[np.bool_]) -> Floats:
    """Return means over every other group (angle, half, side, row) of the edges that are used, for equal noise."""
    found = []
    for side in (slice(0, GROUPS), slice(GROUPS, 2 * GROUPS)):
        groups = np.arange(2 * GROUPS)[side][used[side]]
        if len(groups) >= 2:
            halves = [changes[..., groups[half::2]].mean(axis=2, dtype=np.float64) for half in (0, 1)]
            found.append(np.stack(halves, axis=1))
    return np.stack(found, axis=2) if found else np.zeros((len(changes), 2, 0, changes.shape[1]))


def blocks_of(halves: Floats) -> Floats:
    """Return means over blocks of projections in a row."""
    edges = np.linspace(0, len(halves), min(BLOCKS, len(halves)) + 1).astype(int)
    lengths = np.diff(edges).reshape(-1, 1, 1, 1)
    return np.asarray(np.add.reduceat(halves, edges[:-1], axis=0) / lengths)


def unexplained(halves: Floats) -> tuple[float, float]:
    """Return the r.m.s. share of the light by which rows of air deviate from their edge's level, and its error.

    Noise is independent in the two halves, so that it adds nothing to the mean of their product but scatter. The level
    of each edge is what projections are scaled to.

    Parameters
    ----------
    halves : array (block, half, side, row)
    """
    if not halves.size:
        return float("nan"), float("nan")
    halves = halves - halves.mean(axis=3, keepdims=True)
    product = (halves[:, 0] * halves[:, 1]).mean(axis=0).ravel()  # a row's noise in the flats is that of all blocks
    apart = ((halves[:, 0] - halves[:, 1]) ** 2).mean() / 2
    variance = float(product.mean())
    error = float(apart / np.sqrt(len(product)))
    size = float(np.sqrt(max(variance, 0.0)))
    return size, error / (2 * max(size, float(np.sqrt(error)))) if error else 0.0


def find_bands(halves: Floats, most: int = MOST) -> Bands:
    """Find the bands along the rows that air shows beyond its noise, and what modes before them explain.

    Parameters
    ----------
    halves : array (block, half, side, row)
        What is left of air; both edges, or there are no bands to find: that they run across the field must be seen.
    most : int
        Components at the most.
    """
    blocks, _, sides, rows = halves.shape
    none = Bands(np.zeros((0, rows, 2)), float("nan"))
    if sides < 2:
        return none
    vectors = significant(halves.reshape(blocks, 2, -1), min(most, blocks // 2))
    if not len(vectors):
        return none
    parts = np.einsum("kt,thsr->khsr", vectors, halves)
    both = [float(np.mean(parts[:, 0, a] * parts[:, 1, b])) for a, b in ((0, 0), (1, 1), (0, 1), (1, 0))]
    across = abs(both[2] + both[3]) / 2 / np.sqrt(max(both[0], 1e-30) * max(both[1], 1e-30))
    if across < ACROSS:
        return Bands(none.ends, min(across, 1.0))
    ends = parts.mean(axis=1).transpose(0, 2, 1)  # (component, row, side)
    ends -= ends.mean(axis=(1, 2), keepdims=True)
    rms = np.sqrt(np.mean(ends**2, axis=(1, 2), keepdims=True))
    return Bands(ends / rms, min(across, 1.0))


def ends_of(bands: Floats, amounts: Floats, at: tuple[float, float], columns: tuple[int, int]) -> Floats:
    """Return the relative light of bands at two columns of some projections (angle, row, 2).

    Parameters
    ----------
    bands : array (component, row, 2)
        At the columns `at`.
    amounts : array (angle, component)
    at : (float, float)
        Columns at which the bands are known; linear between and beyond.
    columns : (int, int)
    """
    known = np.zeros((len(amounts), *bands.shape[1:]))
    for amount, band in zip(amounts.T, bands, strict=True):  # one order of the sum, whatever the block
        known += amount[:, None, None] * band
    share = (np.asarray(columns, np.float64) - at[0]) / (at[1] - at[0])
    return np.asarray(known[..., :1] + (known[..., 1:] - known[..., :1]) * share)
