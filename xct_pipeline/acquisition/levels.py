"""A level for every frame, and which frames do not belong among their kind.

Flats, darks and projections are compared with the others of their kind by robust figures: the share of pixels
without a usable count, the level, and how the light is spread over the frame.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.selection import runs_in_words

Floats = npt.NDArray[np.floating[Any]]
LOST = 0.5  # share of a frame without a count, from which on it is left out
FEW_LOST = 0.01  # share from which on it is told
NO_BEAM = 0.02  # of the usual light
FLICKER = 0.1  # change of a single flat's level that is no drift of the beam
SHADOW = 0.9  # of the light beside it: a part of a flat this dark shows something in the beam
CONSTANT = 0.9  # share of the pixels of all flats that hold one count: no light fluctuates so little
LIT = 0.003  # of the light of the flats, on a dark
_SINGULAR = {"are": "is"}
ROWS = 64  # rows of a frame that it is judged by


@dataclass(frozen=True)
class Finding:
    """Frames of one kind that deviate alike.

    Attributes
    ----------
    kind : str
        ``projections``, ``flats`` or ``darks``.
    frames : tuple of int
        Their numbers within the kind, from 0.
    what : str
        What was seen, to follow the frames' numbers in a sentence.
    left_out : bool
    level : float
        The figure that was seen, nan where there is none.
    """

    kind: str
    frames: tuple[int, ...]
    what: str
    left_out: bool
    level: float = float("nan")

    def __str__(self) -> str:
        end = ": left out" if self.left_out else ""
        if len(self.frames) == 1:
            verb, _, rest = self.what.partition(" ")
            rest = rest.replace("their", "its")
            return f"{self.kind[:-1]} {self.frames[0]} {_SINGULAR.get(verb, verb + 's')} {rest}{end}"
        count = f" ({len(self.frames)} in all)" if len(self.frames) > 3 else ""
        return f"{self.kind} {runs_in_words(self.frames)}{count} {self.what}{end}"


@dataclass(frozen=True)
class Shares:
    """For each frame, its pixels that are zero, not finite, and saturated, and a sum that equal frames have alike."""

    zero: Floats
    nonfinite: Floats
    saturated: Floats
    checksum: Floats

    def __add__(self, other: Shares) -> Shares:
        return Shares(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def count_shares(counts: Any, saturation: float | None, usable: Any = None) -> Shares:
    """Count pixels (frame, row, column) that are zero, not finite or saturated, frame by frame.

    Parameters
    ----------
    counts : array
    saturation : float or None
    usable : bool array (row, column), optional
        Pixels that are looked at.
    """
    flat = counts.reshape(len(counts), -1) if usable is None else counts[:, usable]
    nothing = np.zeros(len(flat))
    finite = flat.dtype.kind in "ui"
    return Shares(
        np.count_nonzero(flat == 0, axis=1).astype(float),
        nothing if finite else flat.shape[1] - np.count_nonzero(np.isfinite(flat), axis=1).astype(float),
        nothing if saturation is None else np.count_nonzero(flat >= saturation, axis=1).astype(float),
        np.array([zlib.crc32(np.ascontiguousarray(frame).data) for frame in counts], np.float64),
    )


def share_findings(kind: str, shares: Shares, size: int, most: float = LOST) -> tuple[list[Finding], set[int]]:
    """Find frames of which too many pixels hold no count, beyond what is usual for their kind."""
    findings: list[Finding] = []
    out: set[int] = set()
    for values, words, partly in (
        (shares.nonfinite, "hold no numbers", "not a number"),
        (shares.zero, "are empty, all zero", "zero"),
        (shares.saturated, "are saturated", "saturated"),
    ):
        share = values / max(size, 1)
        usual = float(np.median(share)) if len(share) else 0.0
        usual = usual if usual <= 0.5 else 0.0
        lost = [k for k in np.flatnonzero(share > usual + most).tolist() if k not in out]
        some = np.flatnonzero((share > usual + FEW_LOST) & (share <= usual + most)).tolist()
        if lost:
            worst = float(share[lost].max())
            text = words if worst > 0.99 else f"{words} in {100 * worst:.2g} % of their pixels"
            findings.append(Finding(kind, tuple(lost), text, True, worst))
            out.update(lost)
        if some:
            worst = float(share[some].max())
            text = f"are {partly} in up to {100 * worst:.3g} % of their pixels: filled from what is beside them"
            if partly == "saturated":
                text = f"are saturated in up to {100 * worst:.2g} % of their pixels, where attenuation is wrong"
            findings.append(Finding(kind, tuple(some), text, False, worst))
    return findings, out


def block_medians(frames: Any, across: int = 16) -> Floats:
    """Return medians (frame, row block, column block) over some of the rows; what is not finite is left out."""
    split = _blocks(frames, across)
    if np.isfinite(split).all():
        return np.asarray(np.median(split, axis=(2, 4)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a block without any value is nan
        return np.asarray(np.nanmedian(split, axis=(2, 4)))


def block_means(frames: Any, across: int = 16) -> Floats:
    """Return means (frame, row block, column block) over some of the rows; what is not finite is left out."""
    split = _blocks(frames, across)
    good = np.isfinite(split)
    count = good.sum(axis=(2, 4))
    means: Floats = np.where(good, split, 0).sum(axis=(2, 4)) / np.maximum(count, 1)
    means[count == 0] = np.nan
    return means


def _blocks(frames: Any, across: int) -> Floats:
    step = max(1, frames.shape[1] // ROWS)
    some = np.asarray(frames[:, ::step], np.float64)
    rows, columns = max(1, some.shape[1] // 8), max(1, some.shape[2] // across)
    r, c = some.shape[1] // rows * rows, some.shape[2] // columns * columns
    return np.asarray(some[:, :r, :c].reshape(len(some), r // rows, rows, c // columns, columns))


def judge_darks(darks: Any, light: float, known_bad: set[int]) -> list[Finding]:
    """Find darks that were taken with light.

    Parameters
    ----------
    darks : array (frame, row, column)
    light : float
        Counts of the flats above the darks.
    known_bad : set of int
        Not to be compared with.
    """
    good = [k for k in range(len(darks)) if k not in known_bad]
    if len(good) < 2 or not light > 0:
        return []
    blocks = block_medians(darks[good])
    usual = np.median(blocks, axis=0) if len(good) > 2 else blocks[int(np.argmin(np.nanmean(blocks, axis=(1, 2))))]
    off = blocks - usual
    level = np.nanmedian(np.abs(off), axis=(1, 2))
    most = np.nanmax(np.abs(off), axis=(1, 2))
    spread = 1.483 * float(np.median(level))
    limit = LIT if len(good) > 2 else 5 * LIT
    # a part that is lit has to stand out of what noise makes of the brightest of some hundred blocks
    part = max(0.05 * light, 8 * spread)
    bad = [k for k in range(len(good)) if level[k] > max(limit * light, 8 * spread) or most[k] > part]
    if not bad or 2 * len(bad) > len(good):
        return []
    share = max(float(np.nanmean(off[k])) for k in bad) / light
    text = f"hold {100 * share:.2g} % of the flats' light: the beam was on"
    return [Finding("darks", tuple(good[k] for k in bad), text, True, share)]


def judge_flats(light: Floats, groups: Sequence[npt.NDArray[np.intp]], known_bad: set[int]) -> list[Finding]:
    """Find flats without beam, with the sample in it, or of another level than the others taken with them.

    Parameters
    ----------
    light : array (frame, row block, column block)
        Block medians of the flats less the dark.
    groups : sequence of arrays of int
        The flats that were taken at one time.
    known_bad : set of int
        Not to be compared with.
    """
    findings: list[Finding] = []
    out = set(known_bad)
    level = np.nanmedian(light, axis=(1, 2))
    good = [k for k in range(len(light)) if k not in out]
    if len(good) < 2:
        return findings
    usual = float(np.median(level[good]))
    brightest = float(level[good].max())
    dark = [k for k in good if level[k] < 10 * NO_BEAM * (usual if usual > 0.2 * brightest else brightest)]
    if dark and len(dark) < len(good):
        share = max(float(level[dark].max()) / brightest, 0.0)
        text = f"hold {100 * share:.2g} % of the light of the other flats: no beam"
        findings.append(Finding("flats", tuple(dark), text, True, share))
        out.update(dark)
    findings += _shadows(light, out)
    for members in groups:
        inside = [int(k) for k in members if k not in out]
        if len(inside) < 3:
            continue
        middle = float(np.median(level[inside]))
        spread = 1.483 * float(np.median(np.abs(level[inside] - middle)))
        odd = [k for k in inside if abs(level[k] - middle) > max(FLICKER * middle, 8 * spread)]
        if odd and 2 * len(odd) < len(inside):
            share = float(level[odd[0]]) / middle
            text = f"are {share:.3g} times as bright as the flats taken with them"
            findings.append(Finding("flats", tuple(odd), text, True, share))
            out.update(odd)
    return findings


def _shadows(light: Floats, out: set[int]) -> list[Finding]:
    """Find flats in which a part is darker, against the rest of the frame, than in the flat with the most light."""
    good = [k for k in range(len(light)) if k not in out]
    if len(good) < 2:
        return []
    total = np.nanmean(light, axis=(1, 2))
    best = good[int(np.argmax(total[good]))]
    found, depth = [], 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        for k in good:
            ratio = light[k] / light[best]
            noise = 1.05 * float(np.nanmedian(np.abs(np.diff(ratio, axis=-1)))) if ratio.shape[-1] > 1 else 0.0
            ratio = ratio[np.isfinite(ratio) & (light[best] > 0.05 * total[best])]
            if not ratio.size:
                continue
            low = np.quantile(ratio, 0.05) / np.quantile(ratio, 0.95)
            if low < SHADOW - 4 * noise:
                found.append(k)
                depth = min(depth, float(low))
    if not found or len(found) == len(good):
        return []
    out.update(found)
    text = f"are darker in a part of the frame, down to {100 * depth:.2g} % of the rest: the sample was in the beam"
    return [Finding("flats", tuple(found), text, True, depth)]


def judge_light(transmission: Floats, known_bad: set[int]) -> list[Finding]:
    """Find projections without beam, by the mean transmission of each.

    A projection is dark if it transmits less than 2 % of the usual and less than a fifth of the nearest others: what
    changes with the angle, however much, changes from one projection to the next.

    Parameters
    ----------
    transmission : (angle,)
        Mean over the frame.
    known_bad : set of int
    """
    good = np.array([k for k in range(len(transmission)) if k not in known_bad])
    if len(good) < 3:
        return []
    usual = float(np.median(transmission[good]))
    low = good[transmission[good] < NO_BEAM * usual]
    bright = np.setdiff1d(good, low)
    if not len(low) or not len(bright):
        return []
    beside = np.array([_nearest(transmission, bright, k) for k in low])
    dark = low[transmission[low] < 0.2 * beside]
    if not len(dark):
        return []
    share = float(np.max(transmission[dark] / _beside(beside, low, dark)))
    text = f"transmit {100 * max(share, 0.0):.2g} % of their neighbours: no beam"
    return [Finding("projections", tuple(int(k) for k in dark), text, True, share)]


def _nearest(values: Floats, among: npt.NDArray[np.intp], at: int) -> float:
    """Return the lower of the values nearest before and after a place."""
    place = int(np.searchsorted(among, at))
    return min(float(values[among[k]]) for k in (place - 1, place) if 0 <= k < len(among))


def _beside(beside: Floats, low: npt.NDArray[np.intp], dark: npt.NDArray[np.intp]) -> Floats:
    return np.asarray(beside[np.isin(low, dark)])


def pile_up(frames: Any, limit: float | None, usable: Any = None) -> float | None:
    """Return the count at which pixels pile up below the limit of their type, None where they do not.

    A converter of fewer bits than its container (12 bits in 16), or a file that was scaled, ends at a value of its
    own: it is held by far more pixels than the values below it, and these do not fluctuate while others do.

    Parameters
    ----------
    frames : array (frame, row, column)
        Integer counts.
    limit : float or None
        Counts that are known as saturated.
    usable : bool array (row, column), optional
        Pixels that are looked at.
    """
    if frames.dtype.kind not in "ui" or not frames.size:
        return None
    step = max(1, frames.shape[1] // ROWS)
    some = frames[:, ::step]
    flat = some.reshape(len(some), -1) if usable is None else some[:, usable[::step]]
    if not flat.size:
        return None
    top = flat.max()
    count = int(np.count_nonzero(flat == top))
    if (limit is not None and float(top) >= limit) or count < max(20, 0.002 * flat.size):
        return None
    below = flat[flat < top]
    if below.size:
        _, counts = np.unique(below[below >= below.max() - min(int(below.max()), 16)], return_counts=True)
        if count < 8 * counts[-3:].max():
            return None
    pinned = (flat == top).all(axis=0)
    pair = flat[:2, ~pinned]
    enough = len(flat) > 1 and pair.shape[1] >= max(20, 0.01 * pinned.size)  # a few dead pixels tell nothing
    fluctuates = enough and np.mean(pair[0] != pair[1]) > 0.5
    of_converter = (int(top) + 1) & int(top) == 0 and int(top) >= 255  # 2^n - 1
    return float(top) if fluctuates or of_converter else None


def defective(flats: Any, darks: Any, limit: float | None) -> npt.NDArray[np.bool_] | None:
    """Return the pixels (row, column) that stand at the limit in all flats and all darks; None where none does."""
    frames = [f for f in (flats, darks) if f is not None and len(f)]
    if limit is None or len(frames) < 2:
        return None
    mask = frames[1][0] >= limit
    if not mask.any():
        return None
    for stack in frames:
        for image in stack:
            mask &= image >= limit
    return np.asarray(mask) if mask.any() else None


def unlit(flats: Any) -> npt.NDArray[np.bool_] | None:
    """Return the pixels (row, column) without light in any flat: zero, negative or no number; None where they are few.

    Rows that are wholly without light lie beyond the beam, and are no gap of the detector.
    """
    if flats is None or not len(flats):
        return None
    with np.errstate(invalid="ignore"):
        mask = ~(flats[0] > 0)
        for image in flats[1:] if mask.any() else ():
            mask &= ~(image > 0)
    mask[mask.all(axis=1)] = False
    return np.asarray(mask) if FEW_LOST < mask.mean() < LOST else None


def constant(flats: Any) -> float | None:
    """Return the count that nearly all pixels of all flats hold, None where they differ as counts do."""
    if flats is None or flats.dtype.kind not in "ui" or len(flats) < 2:
        return None
    value = flats[0].flat[0] if flats[0].size < 2 else np.median(flats[0])
    return float(value) if np.mean(flats == value) > CONSTANT else None


def fluctuates(sample: Floats) -> bool:
    """Tell whether transmission (angle, row, column) changes at random from one projection to the next.

    White noise has second differences that are larger than the first; a sample that turns has smaller ones.
    """
    inside = sample[1:-1] < 0.95
    if len(sample) < 12 or np.count_nonzero(inside) < 100:
        return False
    first, second = np.abs(np.diff(sample, axis=0))[1:], np.abs(np.diff(sample, n=2, axis=0))
    return float(np.median(second[inside])) > 1.4 * float(np.median(first[inside])) > 0


def widest_gap(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    """Return the widest run of columns without a value in at least half of the rows: its width, first and last."""
    from xct_pipeline.acquisition.selection import runs

    columns = np.flatnonzero(mask.mean(axis=0) >= 0.5)
    return max(((b - a + 1, a, b) for a, b in runs(columns)), default=(0, 0, 0))
