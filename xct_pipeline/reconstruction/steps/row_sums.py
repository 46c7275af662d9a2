"""Sums over the columns of all sinograms of a scan: what its mass is compared by without a reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region, cut, size_of
from xct_pipeline.engine.blocks import Array, BlockOp, Pass, Reduction, Source, apply_ops, regions_of
from xct_pipeline.reconstruction import coarse_rays, half_acquisition, truncation
from xct_pipeline.reconstruction.steps.stage import GROUP, LEAST_EDGE, Geometry

VERSION = 3


@dataclass(frozen=True)
class Integrals:
    """Reads line integrals (angle, row, column), corrected as they are for the volume.

    Attributes
    ----------
    source : Source
    ops : tuple of BlockOp
        From what is read to line integrals.
    """

    source: Source
    ops: tuple[BlockOp, ...]

    def read(self, region: Region) -> Array:
        """Return sinograms of some rows."""
        regions = regions_of(self.ops, region)
        return np.asarray(apply_ops(self.ops, self.source.read(regions[0]), regions)[0])

    def nbytes(self, region: Region) -> int:
        """Return the bytes that reading and correcting take at their peak."""
        regions = regions_of(self.ops, region)
        held = work = self.source.nbytes(regions[0])
        for op, target in zip(self.ops, regions[1:], strict=True):
            out = size_of(target) * op.itemsize
            work = max(work, held + out + op.scratch(target))
            held = out
        return int(work)


@dataclass(frozen=True)
class Rays:
    """The sinograms of a scan, for what looks at them after the reconstruction.

    Attributes
    ----------
    integrals : Integrals
    geometry : Geometry
    first_row, rows : int
        Detector row of the volume's first slice, and how many slices there are.
    identity : mapping
        What the values depend on.
    """

    integrals: Integrals
    geometry: Geometry
    first_row: int
    rows: int
    identity: Mapping[str, Any]

    def region(self, rows: slice) -> Region:
        """Return the region of all angles and columns of some detector rows."""
        return slice(0, len(self.geometry.angles)), rows, slice(0, self.geometry.columns)


def rays_of(step: Pass, geometry: Geometry) -> Rays:
    """Return the sinograms that the pass to a volume reconstructs from."""
    source = integrals_of_pass(step)
    ops = {op.name: {"version": op.version, **op.parameters} for op in source.ops}
    identity = {"integrals": dict(step.inputs), "ops": ops, "geometry": geometry.identity()}
    return Rays(source, geometry, step.offset[0], step.image.shape[0], identity)


def integrals_of_pass(step: Pass) -> Integrals:
    """Return the line integrals that the pass to a volume reconstructs from."""
    return Integrals(step.source, step.ops[:-1])


def row_sums_step(name: str, step: Pass, geometry: Geometry, margin: tuple[int, int] | None, cpu_s: float) -> Reduction:
    """Return the step that sums all sinograms of a scan over their columns, from the pass to its volume.

    Its result: ``sums`` (angle, row of the volume) line integrals times columns, ``angles`` (radians), ``truncated``
    (row), whether the sample reaches beyond the detector, ``columns`` that are summed, ``air`` (row, column), the
    mean over the angles in the columns that tell the level of air, and the sinograms themselves on few pixels:
    ``coarse`` (row, angle, column), ``coarse_rows`` and ``coarse_angles``, the middle of each of these pixels in rows
    of the volume and in radians, and ``center``, the column of the axis; no pixels in a half acquisition.

    Parameters
    ----------
    margin : (left, right) or None
        Columns at the edges that projections are scaled by.
    """
    first, source = step.offset[0], integrals_of_pass(step)
    whole = (slice(0, len(geometry.angles)), slice(first, first + step.image.shape[0]), slice(0, geometry.columns))
    sizes = (len(geometry.angles), GROUP, geometry.columns)
    ops = {op.name: {"version": op.version, **op.parameters} for op in source.ops}
    return Reduction(
        f"{name}/row_sums",
        VERSION,
        partial(_sums, geometry=geometry, margin=margin, first=first),
        _joined,
        {"geometry": geometry.identity(), "rows": [whole[1].start, whole[1].stop], "margin": margin},
        source=source,
        regions=list(cut(whole, sizes)),
        inputs={"integrals": dict(step.inputs), "ops": ops},
        scratch=2.0,
        partial_bytes=len(geometry.angles) * GROUP * 4 + coarse_rays.nbytes(len(geometry.angles), geometry.columns),
        cpu_s=cpu_s,
    )


def _sums(
    block: Array, region: Region, *, geometry: Geometry, margin: tuple[int, int] | None, first: int
) -> dict[str, Array]:
    angles, far = geometry.angles, {"left": ("right",), "right": ("left",)}
    sides = ("left", "right") if geometry.side is None else far[geometry.side]
    truncated = truncation.is_truncated(block, least=LEAST_EDGE, sides=sides)
    left, right = margin or (0, 0)
    edges = np.concatenate([block[:, :, :left], block[:, :, geometry.columns - right :]], axis=2)
    few = coarse_rays.coarse(block, angles, region[1].start, first)
    if geometry.side is not None:
        column, few = geometry.axis.column, coarse_rays.nothing(few)
        block, angles, _ = half_acquisition.stitch(block, angles, center=column, side=geometry.side)
    return {
        "sums": block.sum(axis=2, dtype=np.float64).astype(np.float32),
        "truncated": np.asarray(truncated),
        "angles": np.asarray(angles, np.float64),
        "air": edges.mean(axis=0, dtype=np.float64),
        "columns": np.array(block.shape[2]),
        "center": np.array(geometry.axis.column),
        **few._asdict(),
    }


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {
        "sums": np.concatenate([part["sums"] for part in parts], axis=1),
        "truncated": np.concatenate([part["truncated"] for part in parts]),
        "air": np.concatenate([part["air"] for part in parts]),
        **{name: np.concatenate([part[name] for part in parts]) for name in ("coarse", "coarse_rows")},
        **{name: parts[0][name] for name in ("angles", "columns", "center", "coarse_angles")},
    }
