"""Flats and darks of a scan: those that belong, averaged without hits, and the pixels that hold no value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition import levels
from xct_pipeline.acquisition.levels import Finding
from xct_pipeline.acquisition.steps import Frame, RawSource
from xct_pipeline.correction import flatfield
from xct_pipeline.correction.eigen_flats import MOST, EigenFlats, eigen_flats
from xct_pipeline.engine.blocks import Array
from xct_pipeline.scan import ArrayFrames, Frames, Scan, ScanError

GAP_SHARE = 0.06  # of the columns: a wider gap of the detector cannot be interpolated
LEAST_GAP = 4


@dataclass(frozen=True)
class References:
    """What the flats and darks of a scan tell.

    Attributes
    ----------
    flats : numpy.ndarray or None
        (group, row, column), averaged counts.
    position : numpy.ndarray or None
        Projections taken before each group.
    dark : numpy.ndarray or None
        (row, column).
    mask : numpy.ndarray or None
        (row, column), True where a pixel has no value.
    saturation : float or None
    findings : list of Finding
    notes : list of str
        What else is worth telling, each a sentence.
    constant : float or None
        The count that all flats hold in all pixels, where they do.
    modes : EigenFlats or None
        Principal components of the flats, where they were asked for.
    """

    flats: Array | None
    position: Array | None
    dark: Array | None
    mask: npt.NDArray[np.bool_] | None
    saturation: float | None
    findings: list[Finding]
    notes: list[str]
    constant: float | None = None
    modes: EigenFlats | None = None


def measure_references(scan: Scan, frame: Frame, method: str, components: Literal["auto"] | int = "auto") -> References:
    """Average the flats and darks that belong.

    Parameters
    ----------
    scan : Scan
    frame : Frame
    method : {'linear', 'mean', 'median', ...}
        How flats are averaged and, with ``linear``, interpolated in time; with ``dynamic`` their principal components
        are found too.
    components : int, optional
        As many, whether they exceed noise or not.

    Raises
    ------
    ScanError
        No flat or dark is left, the flats are no brighter than the darks, or the detector has a gap that is too wide.
    """
    findings: list[Finding] = []
    notes: list[str] = []
    average = "median" if method == "median" else "mean"
    darks = None if scan.darks is None else _read_all(scan.darks, frame)
    flats = None if scan.flats is None else _read_all(scan.flats, frame)
    mask = _mask(scan, frame, flats, darks, notes)
    usable = None if mask is None else ~mask
    saturation = scan.saturation
    if flats is not None:
        piled = levels.pile_up(flats, saturation, usable)
        if piled is not None:
            saturation = piled
            notes.append(f"the flats pile up at {piled:g} counts: taken as saturated, though the type would hold more")
    dark_out = _share_problems(scan, "darks", darks, None, usable, findings)
    flat_out = _share_problems(scan, "flats", flats, saturation, usable, findings)
    dark = None
    if darks is not None:
        light = 0.0 if flats is None else _light(flats, darks, flat_out, dark_out)
        more = levels.judge_darks(darks, light, dark_out)
        findings += more
        dark_out |= {k for found in more for k in found.frames}
        dark = average_kept(darks, dark_out, average)
    if flats is None:
        return References(None, None, _masked(dark, mask), mask, saturation, findings, notes)
    constant = levels.constant(flats if usable is None else flats[:, usable])
    groups = [members for _, members in flatfield.group_flats(scan.flat_position)]
    flats = _same_exposure(scan, flats, dark, notes)
    blocks = levels.block_medians(flats) - (0.0 if dark is None else levels.block_medians(dark[None]))
    if dark is not None and float(np.nanmedian(np.nanmax(blocks, axis=0))) <= 0:
        difference = float(np.nanmedian(blocks))
        raise ScanError(
            f"{_where(scan)}: the flats are no brighter than the darks (median difference {difference:.4g} "
            "counts): was the shutter open, or are the two exchanged?"
        )
    more = levels.judge_flats(blocks, groups, flat_out)
    findings += more
    flat_out |= {k for found in more for k in found.frames}
    kept = [members for g in groups if len(members := np.setdiff1d(g, sorted(flat_out)))]
    position = np.array([float(scan.flat_position[members[0]]) for members in kept])
    if method != "linear":
        kept, position = [np.concatenate(kept)], np.zeros(1)
    notes += _groups_apart(blocks, kept)
    averaged = np.stack([average_kept(flats[members], set(), average) for members in kept])
    modes = _modes(flats[kept[0]], averaged[0], dark, components) if method == "dynamic" else None
    if mask is not None:
        averaged[:, mask] = np.nan
    return References(averaged, position, _masked(dark, mask), mask, saturation, findings, notes, constant, modes)


def _modes(flats: Array, mean: Array, dark: Array | None, components: Literal["auto"] | int) -> EigenFlats:
    base = np.float32(0) if dark is None else dark.astype(np.float32)
    least, most = (0, MOST) if components == "auto" else (components, components)
    return eigen_flats(flats, np.asarray(mean - base, np.float32), base, most, least)


def _read_all(frames: Frames, frame: Frame) -> Array:
    whole = (slice(0, frames.shape[0]), slice(0, frame.rows), slice(0, frame.columns))
    return RawSource(frames, frame).read(whole)


def _where(scan: Scan) -> str:
    return str(scan.files[0]) if scan.files else scan.name


def _masked(dark: Array | None, mask: npt.NDArray[np.bool_] | None) -> Array | None:
    return dark if dark is None or mask is None else np.where(mask, np.float32(np.nan), dark)


def _mask(
    scan: Scan, frame: Frame, flats: Array | None, darks: Array | None, notes: list[str]
) -> npt.NDArray[np.bool_] | None:
    """Return the pixels without a value: as the file says, and those that stand at the limit in flats and darks."""
    found = [levels.defective(flats, darks, _limit(scan)), levels.unlit(flats)]
    known = [each for each in found if each is not None]
    mask = np.logical_or.reduce(known) if known else None
    if scan.pixel_mask is not None:
        whole = ArrayFrames(scan.pixel_mask[None].astype(np.float32))
        stated = RawSource(whole, frame).read((slice(0, 1), slice(0, frame.rows), slice(0, frame.columns)))[0] > 0
        mask = stated if mask is None else mask | stated
    if mask is None or not mask.any():
        return None
    width, first, last = levels.widest_gap(mask)
    columns = mask.shape[1]
    if width > max(LEAST_GAP, GAP_SHARE * columns):
        left, right = first, columns - 1 - last
        side = f"[0, {first}]" if left > right else f"[{last + 1}, {columns}]"
        raise ScanError(
            f"{_where(scan)}: columns {first} to {last} hold no value in any frame, a gap of the detector too wide to "
            f"interpolate: join it with a scan in which the detector was moved, or keep one side by columns = {side} "
            "under [acquisition]"
        )
    gap = f", a gap of {width} columns at {first} among them" if width > 1 else ""
    notes.append(f"{int(mask.sum())} pixels hold no value in any frame{gap}: interpolated from the columns beside them")
    return np.asarray(mask, bool)


def _limit(scan: Scan) -> float | None:
    kind = scan.projections.dtype
    return float(np.iinfo(kind).max) if kind.kind in "ui" else scan.saturation


def _share_problems(
    scan: Scan, kind: str, frames: Array | None, saturation: float | None, usable: Any, findings: list[Finding]
) -> set[int]:
    """Leave out frames with too many pixels without a count.

    Raises
    ------
    ScanError
        All are.
    """
    if frames is None:
        return set()
    size = frames[0].size if usable is None else int(usable.sum())
    shares = levels.count_shares(frames, saturation, usable)
    figures = {"not finite": shares.nonfinite, "saturated": shares.saturated}
    if kind == "flats":
        figures["zero"] = shares.zero
    out: set[int] = set()
    for what, counts in figures.items():
        bad = tuple(k for k in np.flatnonzero(counts > levels.FEW_LOST * size).tolist() if k not in out)
        if bad:
            worst = float(counts[list(bad)].max()) / size
            text = f"are {what} in {100 * worst:.3g} % of their pixels"
            findings.append(Finding(kind, bad, text, True, worst))
            out |= set(bad)
    if len(out) == len(frames):
        reasons = "; ".join(f.what for f in findings if f.kind == kind)
        raise ScanError(
            f"{_where(scan)}: no {kind[:-1]} can be used: they {reasons}, at most 1 % may be"
            f"{_cause(saturation, scan)}; name others by {kind} = [...] under [acquisition]"
        )
    return out


def _cause(saturation: float | None, scan: Scan) -> str:
    if saturation is None or saturation == scan.saturation:
        return ""
    return f" (counts pile up at {saturation:g}, where the camera is full)"


def _light(flats: Array, darks: Array, flat_out: set[int], dark_out: set[int]) -> float:
    """Return the median light of the flats above the darkest dark."""
    bright = np.nanmax([np.nanmedian(flats[k][::4]) for k in range(len(flats)) if k not in flat_out] or [0.0])
    dim = np.nanmin([np.nanmedian(darks[k][::4]) for k in range(len(darks)) if k not in dark_out] or [0.0])
    return float(bright - dim)


def _same_exposure(scan: Scan, flats: Array, dark: Array | None, notes: list[str]) -> Array:
    """Scale the light of flats that the file says were exposed longer or shorter than the projections."""
    ours, theirs = scan.exposure_s.get("projections"), scan.exposure_s.get("flats")
    if ours is None or theirs is None or not np.all(ours > 0) or not np.all(theirs > 0):
        return flats
    factor = float(np.median(ours)) / theirs
    if np.all(np.abs(factor - 1) < 5e-3):
        return flats
    base = np.float32(0) if dark is None else dark
    times = ", ".join(f"{t:g}" for t in np.unique(theirs)[:3])
    notes.append(f"flats were exposed for {times} s and projections for {np.median(ours):g} s: scaled to that")
    return np.asarray(base + (flats.astype(np.float32) - base) * factor[:, None, None].astype(np.float32))


def _groups_apart(blocks: Any, kept: list[npt.NDArray[np.intp]]) -> list[str]:
    """Say that the flats before and after a scan differ more than a beam drifts."""
    levels_of = [float(np.nanmedian(blocks[members])) for members in kept]
    if len(levels_of) < 2 or max(levels_of) < 1.25 * min(levels_of):
        return []
    return [
        f"the flats of one time are {max(levels_of) / min(levels_of):.3g} times as bright as those of another: another "
        "exposure or beam current; grey values are right only if projections changed as evenly, or see air"
    ]


def average_kept(frames: Array, left_out: set[int], method: str) -> Array:
    """Average frames (frame, row, column); with ``mean``, a hit on one of them is left out of its pixel.

    A value is a hit where the largest exceeds the mean of the others by ten standard deviations of a count of that
    size, as the fluctuation of most pixels tells it.
    """
    kept = frames if not left_out else frames[[k for k in range(len(frames)) if k not in left_out]]
    if method == "median" or len(kept) < 2:
        return np.asarray(flatfield.average_frames(kept, "median" if method == "median" else "mean"))
    mean = flatfield.average_frames(kept, "mean")
    step = max(1, kept.shape[1] // 32)
    some = kept[:, ::step].astype(np.float64)
    variance, level = some.var(axis=0, ddof=1), np.maximum(some.mean(axis=0), 1.0)
    per_count = float(np.nanmedian(variance / level))
    if not np.isfinite(per_count) or per_count <= 0:
        return np.asarray(mean)
    largest = kept.max(axis=0)
    count = len(kept)
    others = (mean * np.float32(count) - largest) / np.float32(count - 1)
    floor = 0.25 * float(np.nanmedian(variance))
    hit = (largest - others) ** 2 > 100.0 * np.maximum(per_count * np.maximum(others, 0), floor)
    mean[hit] = others[hit]
    return np.asarray(mean)
