"""Which projections of a scan belong: judged by sampled rows, before anything is estimated from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from xct_pipeline.acquisition import levels
from xct_pipeline.acquisition.levels import Finding, Shares
from xct_pipeline.acquisition.repeats import repeated
from xct_pipeline.acquisition.selection import runs_in_words
from xct_pipeline.correction import air
from xct_pipeline.correction.defects import find as defects
from xct_pipeline.correction.moments import Consistency, consistency
from xct_pipeline.engine.blocks import Array
from xct_pipeline.scan import Scan, ScanError

MOST_LEFT_OUT = 0.02
TOO_BRIGHT = 1.1  # transmission of a block, air being 1, from which flats are doubted
LIKE_AIR, BRIGHTER_THAN_AIR = 0.03, 1.04  # the same where both edges of the frame are as bright as the flats
BELOW_DARK = 0.01  # share of the pixels whose counts may lie at or below the dark
STEP = 0.2  # change of the log of the light between neighbours that no sample makes
CHANGE, LEAST_CHANGE = 6.0, 0.01  # from one projection to the next, against those beside, and of the mean transmission
AS_BRIGHT = 0.6  # change of the logarithm of the mean transmission, against that of how it is spread
TELLING_JITTER = 0.3  # columns
CLEAR_EDGES = 0.15  # change of the logarithm of the light at one edge against the other where both are air
RING, RING_SNR = 0.02, 4.0  # line integral, and standard errors, from which a column stands out
RING_ROWS, RING_LOOK = 0.5, 12  # share of the rows that must agree on it; rows looked at
MOSTLY = 0.9  # share of the projections that are as they should be
NOTHING_THERE = 0.99  # mean transmission that no part of the frame falls below where nothing is in the beam
DOUBT = "attenuation is wrong"  # of what makes every value doubtful


@dataclass(frozen=True)
class Judgement:
    """Findings, further sentences, and the random shift of single projections."""

    findings: list[Finding]
    notes: list[str]
    jitter: float = float("nan")


def judge_projections(sample: Array, shares: Shares, angles: Array) -> Judgement:
    """Find projections without beam or without counts, and those that repeat another.

    Parameters
    ----------
    sample : array (angle, row, column)
        Transmission, not scaled to air.
    shares : Shares
        Pixels of the sample that hold no count.
    angles : (angle,)
        Radians.
    """
    found, out = levels.share_findings("projections", shares, sample[0].size)
    mean = sample.mean(axis=(1, 2), dtype=np.float64)
    found += levels.judge_light(mean, out)
    out |= {k for each in found for k in each.frames}
    return Judgement([*found, *repeated(shares, angles, out)], [])


def refuse_many(scan: Scan, findings: Sequence[Finding], most: float) -> list[int]:
    """Return the projections that are left out.

    Raises
    ------
    ScanError
        They are more than the share `most` of all, and more than one.
    """
    left_out = sorted({k for found in findings if found.left_out and found.kind == "projections" for k in found.frames})
    count = len(scan.angles)
    if len(left_out) <= max(1, most * count):
        return left_out
    where = str(scan.files[0]) if scan.files else scan.name
    reasons = "; ".join(str(f).removesuffix(": left out") for f in findings if f.left_out and f.kind == "projections")
    raise ScanError(
        f"{where}: {len(left_out)} of {count} projections do not belong, more than {100 * most:g} %: {reasons}. "
        f"Look at them; to go on without them set most_left_out = {np.ceil(100 * len(left_out) / count) / 100:g} "
        "under [acquisition]"
    )


def refuse_counts(scan: Scan, sample: Array, without_flats: bool) -> None:
    """Refuse values that are no transmission where a scan goes without flats.

    Raises
    ------
    ScanError
        They are counts, or line integrals already.
    """
    if not without_flats:
        return
    where = str(scan.files[0]) if scan.files else scan.name
    bright, below = float(np.quantile(sample, 0.9)), float(np.mean(sample <= 1.01e-5))
    if bright > 3:
        raise ScanError(
            f'{where}: flats = "none" takes the projections for transmission, 1 in air, but they reach {bright:.4g}: '
            "these are counts; name flats under [acquisition]"
        )
    if below > 0.1:
        raise ScanError(
            f'{where}: flats = "none" takes the projections for transmission, 1 in air, but {100 * below:.2g} % of '
            "them are zero or less: line integrals already (the logarithm taken), or no normalised frames"
        )


def judge_whole(
    scan: Scan, sample: Array, margin: air.Margin | None, left_out: Sequence[int], moving: bool = False
) -> Judgement:
    """Compare projections with each other and with the flats.

    Parameters
    ----------
    sample : array (angle, row, column)
        Transmission, scaled to air where there is a margin.
    margin : Margin or None
    left_out : sequence of int
        Projections that are out already.
    moving : bool
        Whether the sample may move slowly.
    """
    kept = np.setdiff1d(np.arange(len(sample)), left_out)
    values, angles = sample[kept], scan.angles[kept]
    findings: list[Finding] = []
    notes = _against_flats(values, margin)
    if margin is None or min(margin.left, margin.right) < 1:
        notes += _steps(values, kept, margin)
        notes += _changes(values, kept)
        return Judgement(findings, notes)
    told = consistency(values, angles, margin.left, margin.right, moving)
    if told is None:
        return Judgement(findings, notes)
    if len(told.outliers):
        findings += _outliers(kept, told)
    elif len(told.jumps):
        text = runs_in_words(kept[told.jumps])
        notes.append(
            f"the sample jumps sideways at projections {text}: frames in another order than their angles, "
            "frames lost, or the sample moved"
        )
    elif told.wander:
        notes.append(
            f"the sample's centre of mass leaves its circle by up to {told.wander:.2g} columns, slowly: angles that "
            "are not those of the projections (another range, a stage that stood still, frames lost), or a sample that "
            'moved (correction.motion = "moments" mends that)'
        )
    if told.jitter > TELLING_JITTER:
        notes.append(
            f"projections are shifted at random by {told.jitter:.2g} columns rms: the stage wobbles; details are "
            "blurred by that, and the centre's error says so"
        )
    return Judgement(findings, notes, told.jitter)


def _outliers(kept: Array, told: Consistency) -> list[Finding]:
    shift = f" (up to {told.worst:.2g} columns off)" if told.worst > 0.1 else ""
    text = (
        f"show another mass or place of the sample than their neighbours{shift}: torn or shifted frames, wrong angles, "
        "or not projections"
    )
    return [Finding("projections", tuple(int(k) for k in kept[told.outliers]), text, True, told.worst)]


def strange_to_air(sample: Array, angles: Array) -> list[int]:
    """Return projections, few of all, that may be why an edge is not air in all of them.

    Either something else is seen at an edge than just before and after; or both edges are clear, but mass or place of
    the sample are those of another frame, with which the pattern of the flats may have moved.

    Parameters
    ----------
    sample : array (angle, row, column)
        Transmission, not scaled to air.
    angles : (angle,)
        Radians.
    """
    n, _, columns = sample.shape
    strip = max(6, columns // 64)
    if n < 20:
        return []
    parts = (sample[:, :, :strip], sample[:, :, -strip:])
    levels = [np.log(np.maximum(part.reshape(n, -1).mean(axis=1, dtype=np.float64), 1e-5)) for part in parts]
    odd = np.zeros(n, bool)
    for level in levels:
        change = np.abs(level - scipy.ndimage.median_filter(level, size=15, mode="nearest"))
        odd |= change > max(0.1, 10 * 1.483 * float(np.median(change)))
    between = levels[0] - levels[1]
    clear = np.flatnonzero(~odd & (np.abs(between - np.median(between)) < CLEAR_EDGES))
    if len(clear) > MOSTLY * n:
        light = np.exp(np.add(*levels)[clear] / 2).astype(sample.dtype)
        told = consistency(sample[clear] / light[:, None, None], angles[clear], 1, 1)
        odd[clear[told.outliers if told else []]] = True
    found = np.flatnonzero(odd).tolist()
    return found if len(found) <= (1 - MOSTLY) * n else []


def column_statistics(sample: Array, angles: Array) -> tuple[Array, float] | None:
    """Return what rings are told from: the statistics of the columns of a few rows, and the axis.

    Parameters
    ----------
    sample : array (angle, row, column)
        Transmission of the projections that belong.
    angles : (angle,)
        Radians.

    Returns
    -------
    (array (part of the rotation, row, column), float) or None
        None where there are too few projections, or none half a turn from the first.
    """
    if len(sample) < 3 * defects.SEGMENTS:
        return None
    order = defects.order_in_angle(angles)
    sample = sample[:, :: -(-sample.shape[1] // RING_LOOK)]
    p = -np.log(np.maximum(sample if order is None else sample[order], 1e-5)).astype(np.float32)
    angles = angles if order is None else np.mod(angles[order], 2 * np.pi)
    axis = _axis_of(p.mean(axis=1, dtype=np.float64), angles)
    return None if axis is None else (np.asarray(defects.column_statistics(p)), axis)


def rings_in(statistics: Array, axis: float) -> list[str]:
    """Say that some columns stand out at every angle, as what belongs to the detector does and no sample.

    Parameters
    ----------
    statistics : array (part of the rotation, row, column)
    axis : float
        The column that the sample turns about: what has an image on its other side is the sample's.
    """
    found = defects.find_defects([statistics], centers=[axis], snr=RING_SNR, minimum=RING)
    odd = found.dead | (found.offset != 0)
    rings = odd.mean(axis=0) >= RING_ROWS
    if not rings.any():
        return []
    dead = found.dead[:, rings].any()
    worst = "more than 0.5" if dead else f"up to {np.abs(found.offset[:, rings]).max():.2g}"
    return [
        f"rings: in {int(odd[:, rings].any(axis=1).sum())} of {len(odd)} rows looked at, line integrals at columns "
        f"{runs_in_words(np.flatnonzero(rings))} are {worst} off at every angle; values about them are wrong, "
        'correction.stripe.method = "defects" mends that'
    ]


def _axis_of(profiles: Array, angles: Array) -> float | None:
    """Return the column about which two profiles half a turn apart are each other's mirror image, to a tenth."""
    turn = np.abs(np.abs(angles - angles[0]) - np.pi)
    other = int(np.argmin(turn))
    if turn[other] > 3 * float(np.median(np.abs(np.diff(angles)))):
        return None
    one, mirrored = profiles[0], profiles[other][::-1]
    rough = float(np.argmax(np.correlate(one - one.mean(), mirrored - mirrored.mean(), "full"))) - (len(one) - 1)
    columns = np.arange(len(one))
    shifts = rough + np.linspace(-2, 2, 41)  # mean absolute differences, as rings stand in both and match nowhere
    unlike = [np.mean(np.abs(one - np.interp(columns - shift, columns, mirrored))) for shift in shifts]
    return float(shifts[int(np.argmin(unlike))] + len(one) - 1) / 2


def shadow_in_flats(sample: Array) -> list[str]:
    """Say that one edge of the frame is brighter than the flats while the other is as bright: their sample was not out.

    Parameters
    ----------
    sample : array (angle, row, column)
        Transmission, not scaled to air, which would hide it.
    """
    strip = max(4, sample.shape[2] // 32)
    lightest = np.quantile(sample.mean(axis=1, dtype=np.float64), 0.9, axis=0)
    edges = sorted((float(np.median(lightest[:strip])), float(np.median(lightest[-strip:]))))
    if not (edges[1] > 1.1 and 0.9 < edges[0] < 1.07):
        return []
    return [
        f"at one edge projections are {edges[1]:.3g} times as bright as the flats, at the other {edges[0]:.3g} times: "
        "part of the sample was in the flats; attenuation is wrong"
    ]


def full_camera(constant: float | None, sample: Array) -> list[str]:
    """Say that flats do not fluctuate while projections do.

    Parameters
    ----------
    constant : float or None
        The count that all flats hold in all pixels, where they do.
    sample : array (angle, row, column)
        Transmission.
    """
    if constant is None or not levels.fluctuates(sample):
        return []
    return [
        f"the flats hold {constant:g} counts in every pixel, though projections fluctuate: the camera was full "
        f"(saturated), or these are no measured flats; {DOUBT}"
    ]


def _changes(values: Array, kept: Array) -> list[str]:
    """Say where a run of projections begins or ends that shows something else, however much each differs from the next.

    A change stands out if it is six times as large as the two before it and the two after it: what a sample does by
    turning, a slab seen edge on included, takes more than one step.
    """
    if len(values) < 20:
        return []
    parts = levels.block_medians(values)
    light = np.nanmean(parts, axis=(1, 2), keepdims=True)
    parts, log = parts / light, np.log(light[:, 0, 0])
    change = np.nanmean(np.abs(np.diff(parts, axis=0)), axis=(1, 2))
    found = _outstanding(change, (-2, -1, 1, 2)) + 1
    # a single frame: unlike both its neighbours, yet about as bright, as a slab seen edge on is not
    single = np.nanmean(np.abs(parts[1:-1] - (parts[:-2] + parts[2:]) / 2), axis=(1, 2))
    as_bright = np.abs(log[1:-1] - (log[:-2] + log[2:]) / 2) < AS_BRIGHT * single
    alone = _outstanding(np.where(as_bright, single, 0.0), (-3, -2, 2, 3), single) + 1
    found = np.union1d(found, alone)
    if not len(found) or len(found) > 0.05 * len(change):
        return []
    return [
        f"what is in view changes at once at projections {runs_in_words(kept[found])}: frames shifted, torn or in "
        "another order than their angles, or the sample moved"
    ]


def _outstanding(change: Array, beside: Sequence[int], others: Array | None = None) -> Array:
    """Return where a change is far larger than those at some distances before and after it."""
    near = np.max([np.roll(change if others is None else others, shift) for shift in beside], axis=0)
    return np.flatnonzero(change > np.maximum(CHANGE * near, LEAST_CHANGE))


def _against_flats(values: Array, margin: air.Margin | None) -> list[str]:
    """Say that projections are brighter than flats, or no brighter than darks, over whole parts of the frame."""
    notes = []
    blocks = levels.block_means(values)
    bright = float(np.quantile(np.nanmax(blocks, axis=(1, 2)), 0.25))
    edges = [float(np.median(part)) for part in (values[:, :, :4], values[:, :, -4:])]
    as_air = margin is None and all(abs(edge - 1) < LIKE_AIR for edge in edges)  # and yet something else between
    if bright > (BRIGHTER_THAN_AIR if as_air else TOO_BRIGHT):
        cause = (
            "the sample was in the flats"
            if margin is not None or as_air
            else "flats of another exposure, or with the sample"
        )
        notes.append(f"projections are up to {bright:.3g} times as bright as the flats: {cause}; attenuation is wrong")
    darkest = float(np.nanmin(np.nanmean(blocks, axis=0)))
    if darkest > NOTHING_THERE:
        notes.append(f"no part of the frame transmits less than {100 * darkest:.4g} %: was a sample in the beam?")
    below = float(np.mean(values <= 1.01e-5))
    if below > BELOW_DARK:
        notes.append(
            f"{100 * below:.2g} % of the pixels hold no more counts than the darks: darks taken with light, another "
            "offset than in the projections, or a sample that lets nothing through; attenuation is wrong there"
        )
    return notes


def _steps(values: Array, kept: Array, margin: air.Margin | None) -> list[str]:
    """Say that the light changes at once and back, without air to scale it away."""
    if margin is not None or len(values) < 12:
        return []
    light = np.log(np.maximum(values.mean(axis=(1, 2), dtype=np.float64), 1e-5))
    step = np.diff(light)
    usual = np.array([np.median(np.abs(step[max(0, k - 6) : k + 7])) for k in range(len(step))])
    big = np.flatnonzero(np.abs(step) > np.maximum(STEP, 8 * usual))
    if not len(big) or len(big) > 0.05 * len(step):
        return []
    share = 100 * float(np.exp(-np.abs(step[big]).max()))
    return [
        f"the light changes at once, to {share:.3g} %, at projections {runs_in_words(kept[big + 1])}, and no air is in "
        "view to scale it by: the beam or the exposure changed, and attenuation is wrong there"
    ]
