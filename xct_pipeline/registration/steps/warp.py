"""The pass that resamples every scan once, into the frame and onto the grey scale of the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region, size_of
from xct_pipeline.config import Registration
from xct_pipeline.engine.blocks import Array, BlockOp, Pass
from xct_pipeline.engine.resources import Resources
from xct_pipeline.registration import warp
from xct_pipeline.registration.steps.volumes import Motion, Volume
from xct_pipeline.store import layout
from xct_pipeline.store.image import CHUNK, Image, level_count, shard_thickness
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray

VERSION = 1
WARP_RATE = 12e6  # voxels per CPU-second, read and written
GRANULE = (64, 256, 256)
PATH = layout.REGISTERED


def whole_chunks(region: Region) -> Region:
    """Return the region that the chunks of a box cover: that much is read and held encoded, whatever is kept of it."""
    return tuple(slice(part.start // CHUNK * CHUNK, -(-part.stop // CHUNK) * CHUNK) for part in region)


@dataclass(frozen=True)
class SeriesSource:
    """Reads, for each scan, what its transform needs of its own volume; (1, z, y, x) regions of the reference frame."""

    folders: tuple[str, ...]
    boxes: tuple[Any, ...]
    shape: tuple[int, int, int]
    order: str

    def box(self, region: Region) -> tuple[slice, ...] | None:
        """Return the voxels of the scan's volume that a region needs, None where it sees nothing of it."""
        transform = self.boxes[region[0].start]
        if transform is None or transform == "copy":
            return None if transform is None else region[1:]
        return warp.required_input_box(region[1:], np.asarray(transform), self.shape, self.order)  # type: ignore[arg-type]

    def read(self, region: Region) -> Array:
        """Read the box; empty where there is nothing to read."""
        box = self.box(region)
        if box is None:
            return np.zeros((0, 0, 0), np.float32)
        return np.asarray(StoredArray(self.folders[region[0].start])[box])

    def nbytes(self, region: Region) -> int:
        """Return the bytes of the largest box that any scan needs, and of its encoded chunks."""
        return 4 * max((size_of(box) + size_of(whole_chunks(box)) for box in self.boxes_of(region)), default=0)

    def boxes_of(self, region: Region) -> list[tuple[slice, ...]]:
        """Return what each scan needs for a region."""
        found = (self.box((slice(t, t + 1), *region[1:])) for t in range(len(self.folders)))
        return [box for box in found if box is not None]


def series_pass(
    settings: Registration,
    volumes: Sequence[Volume | None],
    motions: Sequence[Motion],
    reference: int,
    times_s: Sequence[float | None],
    store: Store,
    limits: Resources,
) -> Pass:
    """Return the pass that resamples every scan into the reference's frame, and copies the reference."""
    fixed = volumes[reference]
    assert fixed is not None
    transforms: list[Any] = []
    for k, (volume, motion) in enumerate(zip(volumes, motions, strict=True)):
        failed = volume is None or motion.problem is not None
        transforms.append(None if failed else "copy" if k == reference else motion.transform.tolist())
    folders = tuple("" if v is None else str(store.path.resolve() / v.path / "0") for v in volumes)
    source = SeriesSource(folders, tuple(transforms), fixed.shape, settings.order)
    along_t = {"time_s": list(times_s), "scans": [motion.name for motion in motions]}
    image = series_image(PATH, fixed, len(volumes), "float32", fixed.unit, along_t)
    op = BlockOp(
        f"warp.{settings.order}",
        VERSION,
        partial(_resample, source=source, scales=tuple((m.gain, m.offset) for m in motions), shape=fixed.shape),
        {"order": settings.order},
        scratch=partial(_warp_scratch, source=source),
    )
    planes = tuple(
        {"volume": v.identity if v else None, "transform": t, "gain": m.gain, "offset": m.offset}
        for v, t, m in zip(volumes, transforms, motions, strict=True)
    )
    cpu_s = float(np.prod(image.shape)) / WARP_RATE
    return Pass(image, source, (op,), (1, *GRANULE), (0, 0, 0, 0), {}, limits.on_device, planes, cpu_s)


def series_image(
    path: str, fixed: Volume, count: int, dtype: str, unit: str, attributes: Mapping[str, Any], labels: bool = False
) -> Image:
    """Return a (t, z, y, x) image in the reference's frame."""
    thickness = shard_thickness(fixed.shape)
    return Image(
        path,
        ("t", "z", "y", "x"),
        (count, *fixed.shape),
        dtype,
        unit,
        thickness,
        level_count(fixed.shape, thickness),
        fixed.voxel_um,
        labels=labels,
        attributes=attributes,
    )


def _warp_scratch(region: Region, source: SeriesSource) -> int:
    """Return the bytes of the coefficients and of the values on their new scale."""
    return 6 * max((size_of(box) for box in source.boxes_of(region)), default=0) + 4 * size_of(region)


def _box3(region: Region) -> tuple[slice, slice, slice]:
    z, y, x = region
    return z, y, x


def _resample(
    block: Any,
    before: Region,
    region: Region,
    *,
    source: SeriesSource,
    scales: Sequence[tuple[float, float]],
    shape: tuple[int, int, int],
) -> tuple[Any, dict[str, int]]:
    del before
    t = region[0].start
    transform, box = source.boxes[t], source.box(region)
    size = tuple(part.stop - part.start for part in region[1:])
    if transform is None or box is None:
        values = np.full(size, np.nan, np.float32)
    elif transform == "copy":
        values = block
    else:
        origin = tuple(part.start for part in box)
        values = warp.warp_block(
            block, np.asarray(transform), _box3(region[1:]), shape=shape, origin=origin, order=source.order
        )
        gain, offset = scales[t]
        values = (values * np.float32(gain) + np.float32(offset)).astype(np.float32)
    return values[None], {"without_data": int(np.isnan(values).sum())}
