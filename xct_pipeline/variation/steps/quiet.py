"""Where the noise of differences is measured: voxels of the reference scan near which nothing changes, in bricks.

The mask is a matter of the reference scan alone, so one survey of it serves all pairs of scans: it counts the quiet
voxels of every brick. Where a series holds more than enough of them, bricks are taken from all over the volume until
they do; which ones depends on nothing but the volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region, cut, inside, size_of
from xct_pipeline.config import Registration, Variation
from xct_pipeline.engine.blocks import Array, Reduction
from xct_pipeline.engine.execution import image_identity, measure
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.region import RegionMask
from xct_pipeline.registration.masks import dilated
from xct_pipeline.registration.steps.stage import PATH, ceramic_threshold
from xct_pipeline.store.store import Store
from xct_pipeline.variation import faces, uncertainty
from xct_pipeline.variation.steps.images import face_gradient
from xct_pipeline.variation.steps.series import PREFIX, VERSION, BoxSource, RegisteredSeries, box_source, region_mask

BRICK = (64, 128, 256)  # whole chunks; a multiple of every window whose sums are checked
ENOUGH = 20_000_000  # quiet voxels: the autocovariance to 0.03 % of the variance, and thousands of windows
HALO = (uncertainty.shell_halo(3),) * 3
CROWDED = 0.005  # share of a plane that is ceramic, from which it is not used
SURVEY_RATE = 30e6  # voxels per CPU-second
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class QuietMask:
    """Voxels where nothing changes and no face is near: where the noise of a difference is measured.

    Attributes
    ----------
    region : RegionMask or None
        Where the user says so.
    avoid : RegionMask
        Where the mass changes.
    threshold : float
        Gradient of a face, 1/cm per voxel.
    solid : float or None
        Attenuation from which a voxel belongs to the ceramic.
    inside_solid : bool
        Measure in the ceramic; else in the planes without any, whose noise is more like the anode's.
    crowded : numpy.ndarray of bool
        Planes of the frame that hold ceramic, or are next to one that does; none until the survey.
    """

    region: RegionMask | None
    avoid: RegionMask
    threshold: float
    solid: float | None
    inside_solid: bool = False
    crowded: Array | None = None

    @property
    def tells_solid(self) -> bool:
        """Whether ceramic and the planes without any are told apart."""
        return self.region is None and self.solid is not None

    def bounds(self) -> Region:
        """Return the box of the frame that holds every quiet voxel."""
        frame = self.avoid.frame
        return tuple(slice(0, n) for n in frame) if self.region is None else self.region.bounds()

    def candidates(self, fixed: Array, wide: Region) -> tuple[Array, Array | None]:
        """Return the quiet voxels of a box of the reference scan, whatever their plane holds, and the ceramic.

        Good inside a margin of `HALO`, except where the box ends with the frame.
        """
        smooth = faces.smoothed(np.nan_to_num(fixed))
        quiet = np.isfinite(fixed)
        quiet &= ~faces.grow(faces.find_faces(smooth, self.threshold), faces.ball(3))
        quiet &= _radius(self.avoid.frame, wide) < min(self.avoid.frame[1:]) / 2 - 3
        if self.region is not None:
            return quiet & self.region.box(wide), None
        quiet &= ~dilated(self.avoid.box(wide), 2)
        return quiet, None if self.solid is None else smooth >= self.solid

    def box(self, fixed: Array, wide: Region) -> Array:
        """Return the quiet voxels of a box; see `candidates`."""
        quiet, solid = self.candidates(fixed, wide)
        if solid is not None and self.inside_solid:
            quiet &= deep_inside(solid)
        elif self.crowded is not None:
            quiet &= ~self.crowded[wide[0], None, None]
        return quiet

    def identity(self) -> dict[str, Any]:
        """Return what the mask depends on, beside the reference scan."""
        return {
            "region": None if self.region is None else self.region.identity_of(),
            "avoid": self.avoid.identity_of(),
            "threshold": self.threshold,
            "solid": self.solid,
        }


def deep_inside(solid: Array) -> Array:
    """Return the voxels of a solid from which two steps along the axes do not lead out of it."""
    return ~faces.grow(~solid, faces.diamond(2))


def quiet_part(
    settings: Variation, registration: Registration, series: RegisteredSeries, store: Store, mask: RegionMask
) -> QuietMask:
    """Return where noise is measured: the region named, else away from faces, ceramic and the anode."""
    if registration.mask == "auto":
        minimum = ceramic_threshold(store, PATH, series.reference)
    else:
        minimum = registration.mask.min_attenuation
    named = None if settings.noise_region is None else region_mask(series, store, settings.noise_region)
    return QuietMask(named, mask, face_gradient(series, store), minimum)


def _radius(frame: tuple[int, int, int], region: Region) -> Array:
    y, x = (np.arange(part.start, part.stop) - (n - 1) / 2 for part, n in zip(region[1:], frame[1:], strict=True))
    return np.asarray(np.hypot(y[:, None], x))


def bricks_of(bounds: Region) -> list[Region]:
    """Cut a box of the frame at multiples of `BRICK`."""
    return list(cut(bounds, BRICK))


def rows_of(bricks: Sequence[Region]) -> list[Region]:
    """Return rows of bricks along x, which are surveyed together."""
    last = {(b[0].start, b[1].start): b[2].stop for b in bricks}
    first = {(b[0].start, b[1].start): b for b in reversed(bricks)}
    return [(b[0], b[1], slice(b[2].start, last[key])) for key, b in reversed(first.items())]


def survey_step(quiet: QuietMask, series: RegisteredSeries, store: Store, prefix: str) -> Reduction:
    """Return the step that counts the quiet voxels of every brick of the reference scan."""
    source = box_source(series, store, [series.reference], HALO)
    return Reduction(
        f"{prefix}noise/survey",
        VERSION,
        partial(_survey_chunk, source=source, quiet=replace(quiet, inside_solid=False)),
        _side_by_side,
        source=source,
        regions=rows_of(bricks_of(quiet.bounds())),
        scratch=0.6,
        cpu_s=size_of(quiet.bounds()) / SURVEY_RATE,
    )


def survey(
    quiet: QuietMask,
    series: RegisteredSeries,
    store: Store,
    limits: Resources,
    kept: Store | None = None,
    steps: Steps | None = None,
    prefix: str = PREFIX,
) -> dict[str, Array]:
    """Count the quiet voxels of every brick, and the ceramic of every plane, of the reference scan.

    Parameters
    ----------
    kept : Store, optional
        That keeps the result; the one that is read by default.
    """
    inputs = {
        "registered": image_identity(store, PATH),
        "reference": series.reference,
        "quiet": quiet.identity(),
        "brick": BRICK,
    }
    step = replace(survey_step(quiet, series, store, prefix), inputs=inputs)
    return measure(store if kept is None else kept, step, limits, steps)


def chosen_bricks(
    quiet: QuietMask, series: RegisteredSeries, found: Mapping[str, Array]
) -> tuple[QuietMask, list[Region], list[int]]:
    """Return the mask, which now knows its planes, and bricks enough with their voxels, from what `survey` found.

    The bricks come in an order in which any first few of them lie all over the volume.
    """
    bricks = bricks_of(quiet.bounds())
    rows = rows_of(bricks)
    crowded = np.zeros(series.frame[0], bool)
    if quiet.tells_solid:
        share = np.zeros(series.frame[0])
        for row, solid in zip(rows, found["solid"], strict=True):
            share[row[0]] += solid[: row[0].stop - row[0].start] / (series.frame[1] * series.frame[2])
        full = share > CROWDED
        crowded = full | np.append(full[1:], False) | np.append(False, full[:-1])
    across = len(bricks) // len(rows)
    counts = []
    for k, brick in enumerate(bricks):
        planes = found["inside" if quiet.inside_solid else "quiet"][k // across, : brick[0].stop - brick[0].start]
        used = planes[:, k % across] if quiet.inside_solid else planes[~crowded[brick[0]], k % across]
        counts.append(int(used.sum()))
    held = [k for k, count in enumerate(counts) if count]
    held = [held[k] for k in np.argsort(np.arange(len(held)) * GOLDEN % 1, kind="stable")]
    held = held[: _first_reaching(ENOUGH, [counts[k] for k in held])]
    return replace(quiet, crowded=crowded), [bricks[k] for k in held], [counts[k] for k in held]


def _first_reaching(enough: int, counts: Sequence[int]) -> int:
    """Return how many of the first counts add up to enough; all of them where they do not."""
    return min(int(np.searchsorted(np.cumsum(counts), enough)) + 1, len(counts))


def sample(bricks: list[Region], counts: Sequence[int], enough: int) -> list[Region]:
    """Return the first bricks that hold enough quiet voxels."""
    return bricks[: _first_reaching(enough, counts)]


def _survey_chunk(block: Array, region: Region, *, source: BoxSource, quiet: QuietMask) -> dict[str, Array]:
    """Count the voxels of each plane that are ceramic, and quiet in each brick, in the ceramic and at all."""
    wide = source.wide(region)
    core = inside(wide, region)
    found, solid = quiet.candidates(block[0], wide)
    edges = [brick[2] for brick in bricks_of(region)]
    result = {name: np.zeros((1, BRICK[0], len(edges)), np.int64) for name in ("quiet", "inside")}
    result["solid"] = np.zeros((1, BRICK[0]), np.int64)
    planes = region[0].stop - region[0].start
    masks = {"quiet": found[core]}
    if solid is not None:
        result["solid"][0, :planes] = solid[core].sum(axis=(1, 2))
        masks["inside"] = (found & deep_inside(solid))[core]
    for name, mask in masks.items():
        for k, part in enumerate(edges):
            across = slice(part.start - region[2].start, part.stop - region[2].start)
            result[name][0, :planes, k] = mask[:, :, across].sum(axis=(1, 2))
    return result


def _side_by_side(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """Put the counts of all rows under each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
