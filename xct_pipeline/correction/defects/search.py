"""The search behind `defects`: narrow, isolated features of a profile, and their images about the axis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from xct_pipeline.correction.defects.templates import FLANK, Template, all_templates, single_gap

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ISOLATED = np.array([1 / 6, -2 / 3, 1, -2 / 3, 1 / 6])  # what a column differs by from the cubic through its neighbours


@dataclass(frozen=True)
class _Found:
    """Candidates of one width that were judged good, and what was seen on the way.

    row, column (of the middle, or left of it), size, score (candidate,); each (candidate, width) offsets.
    """

    template: Template
    row: npt.NDArray[np.intp]
    column: npt.NDArray[np.intp]
    size: Floats
    score: Floats
    each: Floats


def isolated_offsets(
    means: Floats, errors: Floats, centers: list[float] | None, snr: float, max_width: int, minimum: float
) -> tuple[Floats, Bools]:
    """One pass: offsets of the features that meet every condition and do not overlap, and those with a mirror image.

    The profiles are searched as they are, and once more less their own mirror image, where walls are gone and
    a defect shows twice, with both signs: it is where the profile itself is not smooth.
    """
    templates, pairs = all_templates(max_width)
    maps = _deviations(means, templates)
    scatter = _scatter(maps)
    hits = []
    if centers is not None:
        odd, odd_errors = _less_mirror_image(means, errors, centers)
        odd_maps = _deviations(odd, templates)
        odd_scatter = _scatter(odd_maps)
        scatter = [np.minimum(s, o) for s, o in zip(scatter, odd_scatter, strict=True)]
        for f in _search(odd, odd_errors, templates, odd_maps, odd_scatter, snr, minimum):
            keep = _is_one_sided(maps, odd_maps, centers, f)
            hits += [h for h, k in zip(_hits(f, np.zeros(keep.size, bool)), keep, strict=True) if k]
        for a, b in _search_pairs(odd, odd_errors, pairs, odd_maps, odd_scatter, snr, minimum):
            keep = _is_one_sided(maps, odd_maps, centers, a) & _is_one_sided(maps, odd_maps, centers, b)
            hits += [h for h, k in zip(_pair_hits(a, b, np.zeros(keep.size, bool)), keep, strict=True) if k]
    for f in _search(means, errors, templates, maps, scatter, snr, minimum):
        mirrored = np.zeros(f.row.size, bool)
        if centers is not None:
            mirrored = _has_mirror(maps, templates, errors, centers, f)
        hits += _hits(f, mirrored)
    for a, b in _search_pairs(means, errors, pairs, maps, scatter, snr, minimum):
        mirrored = np.zeros(a.row.size, bool)
        if centers is not None:
            wide = _padded(means.mean(axis=1), max_width)
            for f in (a, b):
                mirrored |= _has_mirror(maps, templates, errors, centers, f) | _has_image(wide, errors, centers, f)
        hits += _pair_hits(a, b, mirrored)
    return _without_overlap(hits, means.shape[2], means.shape[3])


def _hits(f: _Found, mirrored: Bools) -> list[tuple[float, int, int, int, bool, Floats]]:
    """(score, row, first column, width, has a mirror image, offsets) of each candidate."""
    w = f.template.width
    left = f.column - (w - 1) // 2
    return [
        (float(f.score[i]), int(f.row[i]), int(left[i]), w, bool(mirrored[i]), f.each[i]) for i in range(f.row.size)
    ]


def _pair_hits(a: _Found, b: _Found, mirrored: Bools) -> list[tuple[float, int, int, int, bool, Floats]]:
    """As `_hits`, of both gaps and the columns between as one."""
    between = b.template.first - a.template.first - a.template.width
    each = np.concatenate((a.each, np.zeros((a.row.size, between)), b.each), axis=1)
    both = replace(a, template=replace(a.template, width=each.shape[1]), score=np.minimum(a.score, b.score), each=each)
    left = a.column - (a.template.width - 1) // 2
    return _hits(replace(both, column=left + (each.shape[1] - 1) // 2), mirrored)


def _padded(x: Floats, max_width: int) -> Floats:
    """Continue profiles past the detector's edges by a flank and the widest gap."""
    pad = FLANK + max_width
    return np.pad(x, ((0, 0),) * (x.ndim - 1) + ((pad, pad),), mode="reflect", reflect_type="odd")


def _deviations(means: Floats, templates: list[Template]) -> list[Floats]:
    """Deviation of each gap from its prediction, (scan, row, column), for every width."""
    pad = FLANK + len(templates)
    wide = _padded(means, len(templates))
    return [_scan_deviations(wide, t, means.shape[3], pad) for t in templates]


def _scatter(maps: list[Floats]) -> list[Floats]:
    """Local scatter of the deviations pooled over scans, (row, column), for every width."""
    return [local_scatter(deviation.mean(axis=0)) for deviation in maps]


def _search(
    means: Floats,
    errors: Floats,
    templates: list[Template],
    maps: list[Floats],
    scatter: list[Floats],
    snr: float,
    minimum: float,
) -> list[_Found]:
    """Judge what stands out in the deviation maps; the good candidates of every width."""
    pad = FLANK + len(templates)
    wide = _padded(means, len(templates))
    error = np.pad(errors, ((0, 0), (0, 0), (pad, pad)), mode="edge")
    found = []
    for t, deviation, sigma in zip(templates, maps, scatter, strict=True):
        rough = np.abs(deviation.mean(axis=0))
        rows, columns = np.nonzero(rough > np.maximum(0.5 * snr * sigma, 0.5 * minimum))
        start = columns + pad - FLANK - (t.width - 1) // 2
        window = start[:, None] + np.arange(2 * FLANK + t.width)
        values = wide[:, :, rows[:, None], window]  # (scan, segment, candidate, window)
        spread = error[:, rows[:, None], window].mean(axis=2)  # (scan, candidate)
        good, size, score, each = _judge(values, spread, sigma[rows, columns], t, snr, minimum)
        found.append(_Found(t, rows[good], columns[good], size[good], score[good], each[good]))
    return found


def _search_pairs(
    means: Floats,
    errors: Floats,
    pairs: list[tuple[Template, Template]],
    maps: list[Floats],
    scatter: list[Floats],
    snr: float,
    minimum: float,
) -> list[tuple[_Found, _Found]]:
    """Judge two features that lie in each other's flanks, where both stand out; the pairs of which both are good."""
    widest = len(maps)
    pad, n_columns = FLANK + widest, means.shape[3]
    wide = _padded(means, widest)
    pooled = wide.mean(axis=(0, 1))
    error = np.pad(errors, ((0, 0), (0, 0), (pad, pad)), mode="edge")
    out = np.abs(maps[0].mean(axis=0)) > np.maximum(0.5 * snr * scatter[0], 0.5 * minimum)
    single = [np.linalg.norm(single_gap(w).deviation) for w in range(1, widest + 1)]
    found = []
    for a, b in pairs:
        span = b.first + b.width - a.first
        places = [k for t in (a, b) for k in range(t.first - FLANK, t.first - FLANK + t.width)]
        end = n_columns - span + 1
        rows, left = np.nonzero(np.logical_and.reduce([out[:, k : k + end] for k in places]))
        window = left[:, None] + pad - FLANK + np.arange(a.deviation.size)
        values = pooled[rows[:, None], window]
        residual = np.sqrt(((values @ a.residual.T) ** 2).sum(axis=1))
        likely = np.ones(rows.size, bool)
        for t in (a, b):
            height = np.abs(values @ t.deviation)
            likely &= height > 0.7 * np.maximum(snr * residual * np.linalg.norm(t.deviation), minimum)
        rows, left, window = rows[likely], left[likely], window[likely]
        values = wide[:, :, rows[:, None], window]
        spread = error[:, rows[:, None], window].mean(axis=2)
        judged = []
        for t in (a, b):
            column = left + t.first - FLANK + (t.width - 1) // 2
            local = scatter[t.width - 1][rows, column] * np.linalg.norm(t.deviation) / single[t.width - 1]
            judged.append((t, column, *_judge(values, spread, local, t, snr, minimum)))
        good = judged[0][2] & judged[1][2]
        one, two = (_Found(t, rows[good], c[good], *(x[good] for x in rest)) for t, c, _, *rest in judged)
        found.append((one, two))
    return found


def _has_image(wide: Floats, errors: Floats, centers: list[float], f: _Found) -> Bools:
    """`_has_mirror` for one of a pair: the mirrored profile is judged as a pair, too."""
    t = f.template
    pad, n_columns = (wide.shape[2] - errors.shape[2]) // 2, errors.shape[2]
    columns = (f.column - (t.width - 1) // 2 - t.first)[:, None] + np.arange(t.deviation.size)
    everywhere = np.ones(f.row.size, bool)
    for i, center in enumerate(centers):
        limit = np.maximum(0.5 * np.abs(f.size), 3 * np.linalg.norm(t.deviation) * errors[i][f.row, f.column])
        here = np.zeros(f.row.size, bool)
        for shift in range(-2, 3):
            at = np.rint(2 * center - columns).astype(np.int64) + shift
            middle = np.rint(2 * center - f.column).astype(np.int64) + shift
            inside = (middle >= 0) & (middle < n_columns)
            values = wide[i][f.row[:, None], np.clip(at + pad, 0, wide.shape[2] - 1)]
            here |= inside & (np.sign(f.size) * (values @ t.deviation) > limit)
        everywhere &= here
    return everywhere


def _less_mirror_image(means: Floats, errors: Floats, centers: list[float]) -> tuple[Floats, Floats]:
    """Profiles minus their mirror image (linear between columns), 0 where that is off the detector."""
    n_columns = means.shape[3]
    odd, error = np.zeros_like(means), np.array(errors)
    for i, center in enumerate(centers):
        where = 2 * center - np.arange(n_columns)
        inside = (where >= 0) & (where <= n_columns - 1)
        low = np.clip(np.floor(where[inside]).astype(np.int64), 0, n_columns - 2)
        t = where[inside] - low
        odd[i][..., inside] = means[i][..., inside] - (1 - t) * means[i][..., low] - t * means[i][..., low + 1]
        image = (1 - t) * errors[i][:, low] + t * errors[i][:, low + 1]
        error[i][:, inside] = np.hypot(errors[i][:, inside], image)
    return odd, error


def isolated_with_image(mean: Floats, center: float) -> tuple[Floats, Floats]:
    """How far each column, and its mirror image about the axis, stands out of its two neighbours on either side.

    Walls of a cell stand out in both alike, and are gone in the difference.

    Parameters
    ----------
    mean : array (row, column)
        Line integrals of one scan averaged over all angles.
    center : float
        Its rotation axis in columns.

    Returns
    -------
    two arrays (row, column)
        0 at the edges and where the image is off the detector. The image is taken between columns by cubic splines:
        beside a wall the profile is steep and bent.
    """
    from scipy.ndimage import map_coordinates

    n_rows, n_columns = mean.shape
    where = 2 * center - np.arange(n_columns)
    inside = (where >= 0) & (where <= n_columns - 1)
    places = np.broadcast_arrays(np.arange(n_rows)[:, None], where[inside][None])
    image = np.zeros_like(mean)
    image[:, inside] = map_coordinates(mean, places, order=3, mode="mirror")
    return _isolated(mean * inside), _isolated(image)


def _isolated(profile: Floats) -> Floats:
    out = np.zeros_like(profile)
    for k, weight in enumerate(ISOLATED):
        out[:, 2:-2] += weight * profile[:, k : profile.shape[1] - 4 + k]
    return out


def _is_one_sided(maps: list[Floats], odd_maps: list[Floats], centers: list[float], f: _Found) -> Bools:
    """Tell on which side of the axis a feature of the odd part belongs to: the one where the image is smooth."""
    sign = np.sign(f.size)
    height = np.abs(f.size)
    keep = np.ones(f.row.size, bool)
    for i, center in enumerate(centers):
        smooth, image = np.zeros(f.row.size), np.zeros(f.row.size)
        for plain, odd in zip(maps, odd_maps, strict=True):
            low, high = _image_range(plain[i], center, 1, f)
            smooth = np.maximum(smooth, np.maximum(high, -low))
            low, high = _image_range(odd[i], center, 1, f)
            image = np.maximum(image, np.where(sign > 0, -low, high))
        keep &= (smooth < 0.4 * height) & (image > 0.45 * height) & (image < 1.4 * height)
    return keep


def _scan_deviations(wide: Floats, t: Template, n_columns: int, pad: int) -> Floats:
    """Deviation of each gap from its prediction, (scan, row, column of the gap's middle, or left of it)."""
    first = pad - FLANK - (t.width - 1) // 2
    mean = wide.mean(axis=1)
    out = np.zeros((*mean.shape[:2], n_columns))
    for k, weight in enumerate(t.deviation):
        out += weight * mean[:, :, first + k : first + k + n_columns]
    return out


def _judge(
    values: Floats, spread: Floats, local: Floats, t: Template, snr: float, minimum: float
) -> tuple[Bools, Floats, Floats, Floats]:
    """Is each candidate isolated, significant, constant in angle and the same in all scans?

    Returns the verdicts, sizes, scores and offsets of each column (candidate, width).
    """
    n_scans, n_segments, n, length = values.shape
    pooled = values.reshape(n_scans * n_segments, n, length)
    parts = pooled @ t.deviation
    size = _middle_mean(parts)
    step = _middle_mean(pooled @ t.step)
    residual = np.sqrt((_middle_mean(pooled @ t.residual.T) ** 2).sum(axis=1))
    norm = 1.1 * np.linalg.norm(t.deviation)  # the middle mean has 1.1 times the error of the mean
    counting = norm * np.sqrt((spread**2).sum(axis=0)) / n_scans
    sigma = np.maximum(np.maximum(counting, local), residual * norm)
    height = np.abs(size)
    step_sigma = np.maximum(counting, local) * np.linalg.norm(t.step) / np.linalg.norm(t.deviation)
    good = (height > minimum) & (height > snr * sigma) & (np.abs(step) <= 0.3 * height + 2 * step_sigma)
    each_scan = np.stack([_middle_mean(v @ t.deviation) for v in values])
    good &= (np.abs(each_scan - size) <= 0.5 * height + 3 * norm * spread).all(axis=0)
    part_sigma = norm * np.sqrt((spread**2).mean(axis=0) * n_segments)
    good &= np.median(np.abs(parts - size), axis=0) <= 0.3 * height + part_sigma
    return good, size, height / (sigma + 1e-9), _middle_mean(pooled @ t.each.T)


def _middle_mean(x: Floats) -> Floats:
    """Mean of the middle half along the first axis: what shows in a quarter of the rotation does not count."""
    cut = x.shape[0] // 4
    return np.asarray(np.sort(x, axis=0)[cut : x.shape[0] - cut].mean(axis=0))


def _has_mirror(
    maps: list[Floats], templates: list[Template], errors: Floats, centers: list[float], f: _Found
) -> Bools:
    """Tell which features have an image of half their size or more across the axis, in every scan."""
    everywhere = np.ones(f.row.size, bool)
    for i, center in enumerate(centers):
        here = np.zeros(f.row.size, bool)
        for t, deviation in zip(templates, maps, strict=True):
            noise = 3 * np.linalg.norm(t.deviation) * errors[i][f.row, f.column]
            low, high = _image_range(deviation[i], center, 2, f)
            here |= np.where(f.size > 0, high, -low) > np.maximum(0.5 * np.abs(f.size), noise)
        everywhere &= here
    return everywhere


def _without_overlap(
    hits: list[tuple[float, int, int, int, bool, Floats]], n_rows: int, n_columns: int
) -> tuple[Floats, Bools]:
    """Take the most significant of overlapping features; a symmetric one shields what overlaps it."""
    offset = np.zeros((n_rows, n_columns))
    symmetric = np.zeros((n_rows, n_columns), bool)
    taken = np.zeros((n_rows, n_columns), bool)
    for _, row, left, width, mirrored, each in sorted(hits, key=lambda h: (-h[0], h[1], h[2], h[3])):
        first, last = max(left, 0), min(left + width, n_columns)
        if taken[row, first:last].any():
            continue
        taken[row, max(left - FLANK, 0) : left + width + FLANK] = True
        if mirrored:
            symmetric[row, first:last] = True
        else:
            offset[row, first:last] = each[first - left : last - left]
    return offset, symmetric


def local_scatter(x: Floats) -> Floats:
    """Robust sigma over about a hundred columns: a low quantile in blocks of 32, the median of three blocks.

    The tenth of 32 magnitudes is 0.4 sigma for normal noise, and stands where walls fill two thirds of them.
    """
    rows, columns = x.shape
    blocks = -(-columns // 32)
    padded = np.pad(np.abs(x), ((0, 0), (0, 32 * blocks - columns)), mode="reflect")
    level = np.partition(padded.reshape(rows, blocks, 32), 9, axis=2)[:, :, 9] / 0.385
    near = np.pad(level, ((0, 0), (1, 1)), mode="edge")
    middle = np.median(np.stack((near[:, :-2], near[:, 1:-1], near[:, 2:])), axis=0)
    return np.repeat(middle, 32, axis=1)[:, :columns]


def _image_range(x: Floats, center: float, reach: int, f: _Found) -> tuple[Floats, Floats]:
    """Smallest (at most 0) and largest (at least 0) value within `reach` columns of each candidate's mirror image."""
    where = np.rint(2 * center - f.column).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    inside = (where >= 0) & (where < x.shape[1])
    values = np.where(inside, x[f.row[:, None], np.clip(where, 0, x.shape[1] - 1)], 0.0)
    return np.minimum(values.min(axis=1), 0), np.maximum(values.max(axis=1), 0)


def mirror_maximum(x: Floats, center: float, reach: int) -> Floats:
    """Largest value within `reach` columns of each pixel's mirror image; 0 where that is off the detector."""
    columns = x.shape[1]
    where = np.rint(2 * center - np.arange(columns)).astype(np.int64)
    out = np.zeros_like(x)
    for shift in range(-reach, reach + 1):
        at = where + shift
        inside = (at >= 0) & (at < columns)
        out[:, inside] = np.maximum(out[:, inside], x[:, at[inside]])
    return out
