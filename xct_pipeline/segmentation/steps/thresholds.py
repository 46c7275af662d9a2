"""One set of thresholds for the whole series, from one histogram of all its voxels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, assert_never

import numpy as np

from xct_pipeline import device
from xct_pipeline.boxes import Region, inside, size_of, widen
from xct_pipeline.config import (
    Segmentation,
    SegmentClassifier,
    SegmentHysteresis,
    SegmentOtsu,
    SegmentValues,
    SegmentWatershed,
)
from xct_pipeline.engine.blocks import Array, Reduction
from xct_pipeline.engine.execution import measure
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.registration.steps.stage import PATH
from xct_pipeline.segmentation import markers, threshold, watershed
from xct_pipeline.segmentation.denoise import denoise, denoise_halo
from xct_pipeline.segmentation.gaps import has_gaps
from xct_pipeline.segmentation.steps.series import (
    VERSION,
    BoxSource,
    Facts,
    box_source,
    boxes,
    inputs_of,
    sampled_boxes,
    voxels,
)
from xct_pipeline.store.store import Store

GRADIENT_BINS = 256
LARGE, SAMPLE = 2**27, 2**26  # voxels of a series from which on its histogram is that of a sample, and of the sample
GROUPS = 8  # of the sample, whose thresholds differ by their error
SCRATCH = 6.5  # of a box, as a multiple of what is read around it where it has gaps, measured
UNSURE = 0.02  # of the step between two materials: an error of their threshold that moves labels


@dataclass(frozen=True)
class Sample:
    """What thresholds are known from where not all voxels were looked at.

    Attributes
    ----------
    share : float
        Of all voxels.
    sigma : tuple of float
        Standard error of each threshold, 1/cm, from groups of boxes.
    warning : str or None
    """

    share: float
    sigma: tuple[float, ...]
    warning: str | None = None


@dataclass(frozen=True)
class Thresholds:
    """Of all scans together.

    Attributes
    ----------
    values : tuple of float
        1/cm.
    edge : float or None
        The gradient from which a voxel is left to the watershed, 1/cm per voxel.
    means : tuple of float or None
        Of the classes, 1/cm, away from faces; None for a class without voxels, () where none is needed.
    sample : Sample or None
        None where all voxels were looked at, or values are given.
    """

    values: tuple[float, ...]
    edge: float | None = None
    means: tuple[float | None, ...] = ()
    sample: Sample | None = None

    def parameters(self) -> dict[str, Any]:
        """Return what labels depend on."""
        return {"values": self.values, "edge": self.edge, "means": self.means}


@dataclass(frozen=True)
class Histogram:
    """Counts (bins,) of denoised values between `low` and `high`, 1/cm; of each group (groups, bins) of a sample."""

    counts: Array
    low: float
    high: float
    groups: Array | None = None
    share: float = 1.0


def find_thresholds(
    settings: Segmentation, facts: Facts, store: Store, limits: Resources, steps: Steps | None = None
) -> Thresholds | None:
    """Return one set of thresholds for the whole series, from one histogram of all its voxels; None where none is used.

    Raises
    ------
    ValueError
        The volumes are empty or uniform, or hold fewer different values than classes are asked for.
    """
    match settings:
        case SegmentValues():
            return Thresholds(tuple(settings.thresholds))
        case SegmentOtsu():
            h = _histogram(settings, facts, store, limits, steps)
            cuts = partial(_otsu, classes=settings.classes)
            return Thresholds(cuts(h), sample=_sampled(h, cuts))
        case SegmentWatershed():
            h = _histogram(settings, facts, store, limits, steps)
            cuts = partial(_otsu, classes=settings.classes)
            values = tuple(settings.thresholds) if settings.thresholds else cuts(h)
            means = threshold.class_means(h.counts, values, low=h.low, high=h.high)
            if np.isfinite(means).sum() < 2:
                told, span = ", ".join(f"{value:g}" for value in values), f"{h.low:.3g} to {h.high:.3g} 1/cm"
                raise ValueError(f"thresholds {told} leave all voxels in one class: the volumes hold {span}")
            sample = None if settings.thresholds else _sampled(h, cuts)
            return Thresholds(values, settings.edge or markers.marker_edge(means), _known(means), sample)
        case SegmentHysteresis() | SegmentClassifier():
            return None
        case _:
            assert_never(settings)


def _known(means: Array) -> tuple[float | None, ...]:
    return tuple(float(mean) if np.isfinite(mean) else None for mean in means)


def _sampled(h: Histogram, find: Callable[[Histogram], tuple[float, ...]]) -> Sample | None:
    """Return how well a sample tells its thresholds, by leaving out one group of boxes at a time; None of a series."""
    if h.groups is None:
        return None
    values = np.array(find(h))
    others = np.array([find(replace(h, counts=h.counts - group)) for group in h.groups if group.any()])
    count = len(others)
    sigma = np.sqrt((count - 1) / count * ((others - others.mean(axis=0)) ** 2).sum(axis=0)) if count > 1 else np.inf
    bin_error = (h.high - h.low) / len(h.counts) / math.sqrt(12)
    sigma = np.broadcast_to(np.hypot(sigma, bin_error), values.shape)
    means = threshold.class_means(h.counts, tuple(values), low=h.low, high=h.high)
    return Sample(h.share, tuple(sigma.tolist()), _unsure(h.share, values, sigma, np.diff(means)))


def _unsure(share: float, values: Array, sigma: Array, between: Array) -> str | None:
    """Return what is said of thresholds whose error is more than a little of the step between their materials."""
    told = [f"{v:.4g} +- {s:.2g}" for v, s, step in zip(values, sigma, between, strict=True) if s > UNSURE * step]
    if not told:
        return None
    return (
        f"thresholds from {100 * share:.2g} % of the voxels are not sure: {', '.join(told)} 1/cm, an error of "
        f"more than {UNSURE:.0%} of the step between two materials; give segmentation.thresholds"
    )


def _otsu(h: Histogram, classes: int) -> tuple[float, ...]:
    return tuple(threshold.multi_otsu(h.counts, low=h.low, high=h.high, classes=classes).tolist())


def _histogram(
    settings: SegmentOtsu | SegmentWatershed, facts: Facts, store: Store, limits: Resources, steps: Steps | None
) -> Histogram:
    """Return the histogram of all scans; without the voxels at faces where these are to be left out.

    Blurred faces of a dense material spread over all lighter values. Otsu's method, which weighs by the square of the
    difference, then gives them classes of their own and leaves two light materials in one. A voxel is at a face where
    its gradient is above Otsu's threshold of all gradients.
    """
    step = replace(histogram_step(settings, facts, store), inputs=inputs_of(store))
    bins = histogram_bins(settings.bins, gradient_scale(settings))
    found = measure(store, step, limits, steps)
    if "counts" not in found:
        found = _groups_together(found, bins)
    low, high = threshold.span_of(found)
    counts, groups = found["counts"], None
    share = sum(size_of(region) for region in step.regions) / voxels(facts)
    if counts.ndim > len(bins):
        groups, counts = counts, counts.sum(axis=0)
    if gradient_scale(settings) is not None:
        flat = threshold.flat_rows(counts)
        groups = None if groups is None else groups[:, flat].sum(axis=1)
        counts = counts[flat].sum(axis=0)
    return Histogram(counts, low, high, groups, share)


def histogram_step(settings: SegmentOtsu | SegmentWatershed, facts: Facts, store: Store) -> Reduction:
    """Return the step that counts the values of all scans."""
    gradient, reach = gradient_scale(settings), denoise_reach(settings)
    source, wide = (
        box_source(
            facts, store, PATH, 4, reach + (0 if gradient is None else watershed.gradient_halo(gradient, gaps=gaps))
        )
        for gaps in (False, True)
    )
    smooth = partial(_smoothed, source=source, wide=wide, denoising=denoising_of(settings), gradient=gradient)
    most: tuple[int, ...] = histogram_bins(settings.bins, gradient)
    count: Any = partial(_count_chunk, smooth=smooth, bins=most)
    combine = partial(threshold.combine_histograms, bins=most)
    parameters = {"denoise": denoising_of(settings), "gradient": gradient, "bins": settings.bins}
    regions, total = boxes(facts), voxels(facts)
    if total > LARGE:
        regions, total = sampled_boxes(facts, SAMPLE), SAMPLE
        parameters |= {"sample": SAMPLE, "groups": GROUPS}
        count = partial(_count_group, count=count, groups={_start(r): k % GROUPS for k, r in enumerate(regions)})
        combine, most = partial(_combine_groups, combine=combine), (GROUPS, *most)
    return Reduction(
        "segmentation/histogram",
        VERSION,
        count,
        combine,
        parameters,
        fold=True,
        for_device=True,
        source=source,
        regions=regions,
        scratch=SCRATCH * _most_bytes(wide, regions) / max(_most_bytes(source, regions), 1),
        partial_bytes=8 * math.prod(most),
        cpu_s=total / 18e6,
    )


def _most_bytes(source: BoxSource, regions: Sequence[Region]) -> int:
    return max((source.nbytes(region) for region in regions), default=0)


def _start(region: Region) -> tuple[int, ...]:
    return tuple(part.start for part in region)


def _count_group(
    block: Array, region: Region, *, count: Any, groups: Mapping[tuple[int, ...], int]
) -> dict[str, Array]:
    """Count a box of a sample for its group, whose number stands before the keys."""
    return {f"{groups[_start(region)]}:{key}": value for key, value in count(block, region).items()}


def _combine_groups(parts: Sequence[Mapping[str, Array]], *, combine: Any) -> dict[str, Array]:
    """Add the counts of each group by itself: a box that is taken in costs no more than its own group."""
    result: dict[str, Array] = {}
    for group in sorted({key.split(":")[0] for part in parts for key in part}):
        mine = [_of_group(part, group) for part in parts if f"{group}:counts" in part]
        found = mine[0] if len(mine) == 1 else combine(mine)
        result |= {f"{group}:{key}": value for key, value in found.items()}
    return result


def _of_group(found: Mapping[str, Array], group: str) -> dict[str, Array]:
    return {key: found[f"{group}:{key}"] for key in ("counts", "first", "power")}


def _groups_together(found: Mapping[str, Array], bins: Sequence[int]) -> dict[str, Array]:
    """Return the histogram of a sample with an axis of groups before its own."""
    parts = []
    for group in range(GROUPS):
        if f"{group}:counts" in found:
            part = _of_group(found, str(group))
            axis = {"first": np.append(group, part["first"]), "power": np.append(0, part["power"])}
            parts.append({"counts": part["counts"][None], **axis})
    return threshold.combine_histograms(parts, (GROUPS, *bins))


def gradient_scale(settings: SegmentOtsu | SegmentWatershed) -> float | None:
    """Return the scale of the gradient that tells voxels at faces, voxels; None where they count as all others."""
    if isinstance(settings, SegmentWatershed):
        return settings.sigma
    return 1.0 if settings.without_faces else None


def histogram_bins(bins: int, gradient: float | None) -> tuple[int, ...]:
    """Return the largest number of bins along each axis of the histogram, of which more than half are used."""
    return (2 * bins,) if gradient is None else (2 * GRADIENT_BINS, 2 * bins)


def denoising_of(settings: Segmentation) -> dict[str, Any]:
    """Return the parameters of the denoising that labels are made from."""
    return dict(settings.denoise.model_dump())


def denoise_reach(settings: Segmentation) -> int:
    """Return the voxels that the denoising looks at on each side."""
    options = denoising_of(settings)
    return denoise_halo(**{key: value for key, value in options.items() if key != "weight"})


def _smoothed(
    block: Array,
    region: Region,
    *,
    source: BoxSource,
    wide: BoxSource,
    denoising: Mapping[str, Any],
    gradient: float | None,
) -> tuple[Array, Array | None]:
    """Return what is counted of a box; where data lack, it is read again with what its gradient then looks at."""
    if gradient is None:
        return denoise(block, core=source.core(region), **denoising), None
    gaps = has_gaps(block)
    if gaps:
        block, source = device.array_namespace(block).asarray(wide.read(region)), wide
    around = widen(region[1:], (watershed.gradient_halo(gradient, gaps=gaps),) * 3, source.image.shape[1:])
    values, core = denoise(block, core=inside(source.span(region), around), **denoising), inside(around, region[1:])
    slope = watershed.gradient_magnitude(values, sigma=gradient, core=core)
    return device.array_namespace(values).ascontiguousarray(values[core]), slope


def _count_chunk(block: Array, region: Region, *, smooth: Any, bins: Sequence[int]) -> dict[str, Array]:
    values, slope = smooth(block, region)
    return threshold.histogram(*((values,) if slope is None else (slope, values)), bins=bins)
