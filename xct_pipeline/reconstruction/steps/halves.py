"""Noise and resolution of each scan, from its even and its odd projections: where they are measured, and the step.

Half volumes are not stored: `ROWS` rows in the middle of the volume are reconstructed twice, from half of the
projections each, and only a box in the sample is kept of them until the end of the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy

from xct_pipeline.acquisition.steps import Frame, RawSource, scan_identity
from xct_pipeline.boxes import Region, cut
from xct_pipeline.config import Reconstruction
from xct_pipeline.correction.defects.find import order_in_angle
from xct_pipeline.correction.steps.fields import Fields, integrals_of
from xct_pipeline.engine.blocks import Array, BlockOp, Pass, Reduction, Source
from xct_pipeline.engine.execution import estimated
from xct_pipeline.engine.resources import Need
from xct_pipeline.engine.steps import Estimate, Steps
from xct_pipeline.reconstruction import filters, half_acquisition, halves
from xct_pipeline.reconstruction.methods import METHODS
from xct_pipeline.reconstruction.steps.row_sums import Integrals, integrals_of_pass
from xct_pipeline.reconstruction.steps.stage import GROUP, Geometry, reconstruct_op
from xct_pipeline.reconstruction.tilt import chosen_angles
from xct_pipeline.scan import Scan
from xct_pipeline.store.store import Store

VERSION = 1
ROWS = 64  # that are reconstructed; whole groups
LEAST_PROJECTIONS = 16  # of a scan that is split
VIEWS = 24  # projections in whose shadow the box is laid
SMOOTH = 5  # columns: single bad ones are no shadow
TOO_SMALL = f"no square of {halves.LEAST_SIDE} voxels lies in the sample"
WORK = 9  # copies of a box that are held while halves are compared
COMPARE_S, VOXEL_S, SAMPLE_S = 0.1, 1e-7, 2e-8  # CPU-seconds of a scan, per voxel of the box, per value that is sampled

Square = tuple[slice, slice]


@dataclass(frozen=True)
class Sinograms:
    """Reads the line integrals that slices (z, y, x) are reconstructed from."""

    integrals: Integrals
    op: BlockOp

    def read(self, region: Region) -> Array:
        """Return all angles and columns of the rows that the slices need."""
        return self.integrals.read(self.op.needs(region))

    def nbytes(self, region: Region) -> int:
        """Return the bytes that reading and correcting take at their peak."""
        return self.integrals.nbytes(self.op.needs(region))


def split(angles: Array) -> tuple[Array, Array]:
    """Return which projections are even and which odd, counted in the order of their angles, not of time.

    Parameters
    ----------
    angles : (angle,)
        Radians, in the order in which they were taken: steady, interlaced, at the golden section, repeated.

    Returns
    -------
    even, odd : arrays of int
        Positions, each ascending.
    """
    order = order_in_angle(np.asarray(angles, np.float64))
    order = np.arange(len(angles), dtype=np.intp) if order is None else order
    return np.sort(order[0::2]), np.sort(order[1::2])


# ------------------------------------------------------------------------------------------------ where


def slab(first_row: int, rows: int) -> slice:
    """Return the slices in the middle of a volume that are reconstructed, from whole groups of detector rows.

    Parameters
    ----------
    first_row, rows : int
        Detector row of the volume's first slice, and how many slices it has.
    """
    start = (first_row + (rows - ROWS) // 2) // GROUP * GROUP
    return slice(max(start, first_row) - first_row, min(start + ROWS, first_row + rows) - first_row)


def square_step(scan: Scan, frame: Frame, inputs: Mapping[str, Any] | None = None) -> Estimate:
    """Return the step that lays the box in a scan's sample."""
    values = min(VIEWS, frame.angles) * min(ROWS, frame.rows) * frame.columns
    need = Need("", 1, 4 * values + 40 * frame.rows * frame.columns, alone=True, cpu_s=0.1 + SAMPLE_S * values)
    return Estimate(f"{scan.name}/halves_box", 1, need, inputs or {})


def find_square(
    scan: Scan, frame: Frame, fields: Fields, geometry: Geometry, step: Pass, store: Store | None, steps: Steps | None
) -> Square | None:
    """Return the square (y, x) of a slice that lies in the sample, from its shadow; None where it is too small.

    Parameters
    ----------
    step : Pass
        To the volume.
    """
    part = slab(step.offset[0], step.image.shape[0])
    rows = slice(part.start + step.offset[0], part.stop + step.offset[0])

    def search() -> dict[str, Array]:
        chosen = chosen_angles(geometry.angles, VIEWS)
        profiles = np.stack([_profile(scan, frame, fields, int(k), rows) for k in chosen])
        smooth = scipy.ndimage.median_filter(profiles, (1, SMOOTH))
        far = {"left": ("right",), "right": ("left",)}  # of a half acquisition, the edge that the sample ends before
        sides = ("left", "right") if geometry.side is None else far[geometry.side]
        circle = halves.inscribed(smooth, geometry.angles[chosen], geometry.axis.column, sides)
        found = halves.square(circle, geometry.size)
        return {"square": np.array([] if found is None else [(part.start, part.stop) for part in found])}

    key = {**scan_identity(scan), "frame": vars(frame), "fields": {"air": fields.air, "flats": fields.flats}}
    key |= {"geometry": geometry.identity(), "rows": [rows.start, rows.stop]}
    found = estimated(store, square_step(scan, frame, key), search, steps)["square"]
    if not found.size:
        return None
    (top, bottom), (left, right) = found.tolist()
    return slice(top, bottom), slice(left, right)


def _profile(scan: Scan, frame: Frame, fields: Fields, k: int, rows: slice) -> Array:
    """Return the mean over rows of one projection, as line integrals."""
    counts = RawSource(scan.projections, frame).read((slice(k, k + 1), rows, slice(0, frame.columns)))
    return np.asarray(integrals_of(fields, counts, slice(k, k + 1), rows)[0].mean(axis=0, dtype=np.float64))


def planned_square(geometry: Geometry) -> Square:
    """Return the largest square that there can be."""
    side = max(min(int(geometry.size / np.sqrt(2)), halves.MOST_SIDE), 1)
    first = (geometry.size - side) // 2
    return slice(first, first + side), slice(first, first + side)


def hindrance(settings: Reconstruction, geometry: Geometry) -> str:
    """Say why a scan cannot be reconstructed from half of its projections; empty where it can."""
    number = len(geometry.angles)
    if number < LEAST_PROJECTIONS:
        return f"{number} projections are too few to be split"
    method = METHODS[settings.method]
    linear = method.linear(settings.model_dump(exclude={"method"}))
    join = half_acquisition.weigh if linear else half_acquisition.stitch
    for index in split(geometry.angles):
        angles = geometry.angles[index]
        try:
            filters.angular_weights(angles)
            if geometry.side is not None:
                empty = np.zeros((len(angles), 1, geometry.columns), np.float32)
                join(empty, angles, center=geometry.axis.column, side=geometry.side)
        except ValueError as error:
            return f"half of the projections cannot be reconstructed: {error}"
    return ""


# ------------------------------------------------------------------------------------------------- step


def halves_step(
    name: str, step: Pass, settings: Reconstruction, geometry: Geometry, square: Square, before_s: float
) -> Reduction:
    """Return the step that compares even and odd projections in a box, from the pass to the volume.

    Its result: ``frequency`` (1/voxel), ``correlation`` and ``independent`` of each shell, see `halves.Shells`;
    ``covariance`` of the noise of the whole volume, in the square of its unit; ``box``, (z, y, x) first and one past
    the last voxel of the volume; ``projections`` of each half.

    Parameters
    ----------
    square : (slice, slice)
        Of a slice, y and x.
    before_s : float
        CPU-seconds of correcting the whole scan.
    """
    first, rows, size = step.offset[0], step.image.shape[0], geometry.size
    part = slab(first, rows)
    parts = [replace(geometry, angles=geometry.angles[index]) for index in split(geometry.angles)]
    ops = [reconstruct_op(settings, each, first) for each in parts]
    source = Sinograms(integrals_of_pass(step), step.ops[-1])
    regions = list(cut((part, slice(0, size), slice(0, size)), (GROUP, size, size), step.offset))
    side = square[0].stop - square[0].start
    box_bytes = 4 * (part.stop - part.start) * side**2
    share = (part.stop - part.start) / rows
    voxels = (part.stop - part.start) * side**2
    return Reduction(
        f"{name}/halves",
        VERSION,
        partial(
            _boxes,
            functions=tuple(op.function for op in ops),
            splits=split(geometry.angles),
            needs=step.ops[-1].needs,
            square=square,
        ),
        partial(_compared, box=(part, *square), projections=[len(each.angles) for each in parts]),
        {"rows": [part.start, part.stop], "square": [(each.start, each.stop) for each in square]},
        source=source,
        regions=regions,
        inputs={"volume": step.identity()},
        scratch=_scratch(source, ops, regions[len(regions) // 2], parts, size),
        partial_bytes=2 * 4 * GROUP * side**2,
        cpu_s=2 * share * (step.cpu_s - before_s) + share * before_s + COMPARE_S + VOXEL_S * voxels,
        held_bytes=WORK * box_bytes,
    )


def _scratch(source: Source, ops: Sequence[BlockOp], region: Region, parts: Sequence[Geometry], size: int) -> float:
    """Return the memory of a chunk as a multiple of what it reads: half a block, the method's own, and a result."""
    rows = region[0].stop - region[0].start
    half = max(4 * len(each.angles) * GROUP * each.columns for each in parts)
    work = half + max(op.scratch(region) for op in ops) + 4 * rows * size**2
    return float(work / max(source.nbytes(region), 1))


def _boxes(
    block: Array, region: Region, *, functions: Sequence[Any], splits: Sequence[Array], needs: Any, square: Square
) -> dict[str, Array]:
    """Reconstruct slices from the even and from the odd projections; return the box's part of both."""
    source = needs(region)
    found = []
    for function, index in zip(functions, splits, strict=True):
        slices, _ = function(block[index], (slice(0, len(index)), *source[1:]), region)
        found.append(np.ascontiguousarray(slices[(slice(None), *square)]))
    return {"even": found[0], "odd": found[1]}


def _compared(parts: list[dict[str, Array]], *, box: Region, projections: Sequence[int]) -> dict[str, Array]:
    even, odd = (np.concatenate([part[name] for part in parts]) for name in ("even", "odd"))
    shells = halves.shell_correlation(even, odd)
    return {
        **shells._asdict(),
        "covariance": halves.noise_covariance(even, odd),
        "box": np.array([(part.start, part.stop) for part in box]),
        "projections": np.array(projections),
    }


# ---------------------------------------------------------------------------------------------- results


def shells_of(found: Mapping[str, Array]) -> halves.Shells:
    """Return the correlation of halves that a result keeps."""
    return halves.Shells(found["frequency"], found["correlation"], found["independent"])


def crossings(found: Mapping[str, Array]) -> tuple[float, float]:
    """Return the frequencies (1/voxel) at which the correlation falls below half a bit, and below 1/7."""
    shells = shells_of(found)
    return halves.crossing(shells, shells.half_bit), halves.crossing(shells, halves.SEVENTH)


def noise_of(found: Mapping[str, Array]) -> tuple[float, float]:
    """Return the standard deviation of a voxel's noise in the whole volume, and its standard error."""
    return halves.deviation(found["covariance"], int(np.prod(np.diff(found["box"], axis=1))))


def where_of(found: Mapping[str, Array]) -> str:
    """Return the box that was compared, in voxels of the scan's volume."""
    ranges = zip("zyx", found["box"].tolist(), strict=True)
    return ", ".join(f"{axis} {first} to {stop}" for axis, (first, stop) in ranges)
