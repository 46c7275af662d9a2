"""An OME-Zarr image of a store before it exists: its shards, chunks, levels and metadata."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from xct_pipeline.names import check_path

CHUNK = 64
SPATIAL = ("z", "y", "x")
Codec = tuple[Literal["lz4", "zstd"], int, Literal["noshuffle", "bitshuffle"]]  # of blosc: its level, how bits lie
FAST: Codec = ("lz4", 1, "bitshuffle")  # of random digits no other makes less, and its blocks are small: few are read
SMALL: Codec = ("zstd", 3, "bitshuffle")
RUNS: Codec = ("lz4", 5, "noshuffle")  # labels lie in runs: read several times, by zstd a third as fast as by this
THICKNESSES = (64, 32, 16)
SHARD_BYTES = 128 * 2**20
FEWEST_SHARDS = 4


@dataclass(frozen=True)
class Image:
    """An OME-Zarr image of the store, before it exists.

    Attributes
    ----------
    path : str
        Of the group inside the store, ``scans/scan_00/volume``.
    axes : tuple of str
        ``("z", "y", "x")``, ``("t", "z", "y", "x")``, ``("t", "y", "x")`` or ``("angle", "row", "column")``.
    shape : tuple of int
        Of level 0.
    dtype : str
        numpy name.
    unit : str
        Of the values.
    thickness : int
        Planes along z in one shard (1 along t); a power of two times any number, so that levels keep whole shards.
    levels : int
        Multiscale levels, 1 for none but the full resolution.
    voxel_um : float or None
        Edge of a voxel; None where it is unknown (then coordinates are pixels).
    origin : tuple of float
        Index of voxel (0, 0, 0) in the frame it was cut from, in voxels, along the spatial axes.
    labels : bool
        Label image: levels take the nearest voxel, not the mean.
    chunks : tuple of int or None
        Inner chunks; None for cubes of 64.
    attributes : mapping
        More to store under ``attributes.xct``.
    noise_share : float or None
        Values are rounded to steps of at most this share of their noise; None for all digits.
    """

    path: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    unit: str
    thickness: int
    levels: int = 1
    voxel_um: float | None = None
    origin: tuple[float, ...] = ()
    labels: bool = False
    chunks: tuple[int, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    noise_share: float | None = None

    def __post_init__(self) -> None:
        check_path(self.path)

    @property
    def spatial(self) -> tuple[int, ...]:
        """Positions of the spatial axes."""
        return tuple(k for k, axis in enumerate(self.axes) if axis in SPATIAL)

    def level_shape(self, level: int) -> tuple[int, ...]:
        """Shape of a level: halved along space, a last odd voxel left out so that every mean is exact."""
        return tuple(n // 2**level if axis in SPATIAL else n for axis, n in zip(self.axes, self.shape, strict=True))

    def shard_shape(self, level: int = 0) -> tuple[int, ...]:
        """Shape of the shards of a level: whole planes, `thickness` of them along z, one along t."""
        sizes = []
        for axis, n in zip(self.axes, self.level_shape(level), strict=True):
            if axis == "t":
                sizes.append(1)
            elif axis in ("z", "angle"):
                sizes.append(max(1, self.thickness // 2**level))
            elif axis in ("row", "column"):
                chunk = self.chunks[len(sizes)] if self.chunks else n
                sizes.append(math.ceil(n / chunk) * chunk)
            else:
                sizes.append(math.ceil(n / min(n, CHUNK)) * min(n, CHUNK))
        return tuple(sizes)

    def chunk_shape(self, level: int = 0) -> tuple[int, ...]:
        """Shape of the inner chunks of a level, which divides the shard's."""
        if self.chunks is not None:
            return self.chunks
        shape = []
        for axis, shard, n in zip(self.axes, self.shard_shape(level), self.level_shape(level), strict=True):
            size = math.gcd(shard, CHUNK) if axis == "z" else min(n, CHUNK)
            shape.append(1 if axis == "t" else size)
        return tuple(shape)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of shards along each axis of level 0."""
        return tuple(math.ceil(n / s) for n, s in zip(self.shape, self.shard_shape(), strict=True))

    def shards(self) -> Iterator[tuple[int, ...]]:
        """Yield the indices of all shards, in C order."""
        return itertools.product(*(range(n) for n in self.grid))

    def nbytes(self) -> int:
        """Bytes of all levels, uncompressed."""
        voxels = sum(math.prod(self.level_shape(level)) for level in range(self.levels))
        return int(voxels * np.dtype(self.dtype).itemsize)

    @property
    def codec(self) -> Codec:
        """Compressor of blosc, its level and shuffle: the smaller one for rounded values, that of runs for integers."""
        if np.dtype(self.dtype).kind != "f":
            return RUNS
        return FAST if self.noise_share is None else SMALL

    @property
    def encoding(self) -> str:
        """How values lie on the disk."""
        return "zarr3: shards of chunks, blosc {} {} {}, crc32c".format(*self.codec)

    def identity(self) -> dict[str, Any]:
        """What must be equal for an existing image to be continued."""
        rounded = {} if self.noise_share is None else {"noise_share": self.noise_share}
        return {
            "axes": self.axes,
            "shape": self.shape,
            "dtype": self.dtype,
            "unit": self.unit,
            "voxel_um": self.voxel_um,
            "origin": self.origin,
            "labels": self.labels,
            "layout": {
                "thickness": self.thickness,
                "levels": self.levels,
                "chunks": self.chunks,
                "encoding": self.encoding,
            },
            **rounded,
        }

    @classmethod
    def from_identity(cls, path: str, identity: Mapping[str, Any]) -> Image:
        """Return the image that an identity describes, as it was read from the store; without its attributes.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is no identity of this version.
        """
        layout = identity["layout"]
        return cls(
            path,
            tuple(identity["axes"]),
            tuple(int(n) for n in identity["shape"]),
            str(identity["dtype"]),
            identity["unit"],
            int(layout["thickness"]),
            int(layout["levels"]),
            identity["voxel_um"],
            tuple(identity["origin"]),
            bool(identity["labels"]),
            None if layout["chunks"] is None else tuple(int(n) for n in layout["chunks"]),
            noise_share=None if identity.get("noise_share") is None else float(identity["noise_share"]),
        )


def shard_thickness(shape: tuple[int, int, int]) -> int:
    """Return how many planes along z the shards of a volume of (z, y, x) `shape` have.

    It follows from the shape alone, never from workers, memory or cores: shards are part of what a marker vouches for.
    The most planes of 64, 32 and 16 for which a shard of 4-byte values has at most 128 MiB, so that one fits in a
    small machine, and for which there are at least four, so that they can be shared out; else 16.
    """
    for thickness in THICKNESSES:
        plane = 4 * shape[1] * shape[2]
        if thickness * plane <= SHARD_BYTES and -(-shape[0] // thickness) >= FEWEST_SHARDS:
            return thickness
    return THICKNESSES[-1]


def level_count(shape: tuple[int, ...], thickness: int) -> int:
    """Return how many multiscale levels an image of (z, y, x) `shape` gets.

    Levels stop once the largest side fits in one chunk, a side would vanish, or a shard of the full
    resolution no longer covers a whole plane of the level (a task writes one shard of every level).
    """
    levels = 1
    while max(shape) >> (levels - 1) > CHUNK and min(shape) >> levels >= 1 and thickness % 2**levels == 0:
        levels += 1
    return levels


def even_times(times_s: Sequence[Any]) -> tuple[float, float] | None:
    """Return the first time and the mean interval of scans in order of time; None where a time is not known.

    OME-Zarr has a place for no more than that; the times themselves stand in ``attributes.xct.time_s``.
    """
    known = [float(t) for t in times_s if t is not None and math.isfinite(float(t))]
    if len(known) < 2 or len(known) < len(times_s) or known[-1] <= known[0]:
        return None
    return known[0], (known[-1] - known[0]) / (len(known) - 1)


def ome_metadata(image: Image) -> dict[str, Any]:
    """Return the ``ome`` attributes of an image: OME-Zarr 0.5 multiscales, in micrometre where the size is known."""
    units = {"unit": "micrometer"} if image.voxel_um is not None else {}
    times = even_times(image.attributes.get("time_s") or ()) if "t" in image.axes else None
    seconds = {"unit": "second"} if times is not None else {}
    first, interval = times if times is not None else (0.0, 1.0)
    axes: list[dict[str, Any]] = [
        {"name": axis, "type": "time" if axis == "t" else "space", **(seconds if axis == "t" else units)}
        for axis in image.axes
    ]
    step = image.voxel_um if image.voxel_um is not None else 1.0
    origin = dict(zip([image.axes[k] for k in image.spatial], image.origin or (0.0,) * len(image.spatial), strict=True))
    datasets = []
    for level in range(image.levels):
        scale = [interval if axis == "t" else step * 2**level for axis in image.axes]
        shift = [first if axis == "t" else (origin[axis] + (2**level - 1) / 2) * step for axis in image.axes]
        transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    multiscale = {
        "name": image.path.rsplit("/", 1)[-1],
        "axes": axes,
        "datasets": datasets,
        "type": "nearest" if image.labels else "mean",
    }
    return {"version": "0.5", "multiscales": [multiscale]}
