"""What is computed: block operations fused into passes, and reductions.

A pass makes one image. Its unit of scheduling is the shard (one task writes exactly one shard of each level); its
unit of computation is the granule, a region that is always computed whole and in the same way, so that no voxel
depends on the shard, the number of workers or the rows that were asked for. A task reads the region that each
granule needs, halo included, straight from its source.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from xct_pipeline import device
from xct_pipeline.boxes import Region, cut, size_of
from xct_pipeline.engine import reads
from xct_pipeline.engine.resources import Need
from xct_pipeline.store import provenance
from xct_pipeline.store.image import Image
from xct_pipeline.store.stored_array import StoredArray

Array = npt.NDArray[Any]
MOST_TASKS = 4096  # of one reduction


class Source(Protocol):
    """Where a pass reads from."""

    def read(self, region: Region) -> Array:
        """Return the data of a region."""
        ...

    def nbytes(self, region: Region) -> int:
        """Return the bytes that reading a region takes at its peak."""
        ...


@dataclass(frozen=True)
class BlockOp:
    """One step from a block to a block.

    Attributes
    ----------
    name : str
        As in the configuration, ``stripe.defects``.
    version : int
        Raised whenever the result of the operation changes for equal parameters.
    function : callable
        ``function(block, source, target) -> block`` or ``(block, counts)``: `block` covers the region `source`, the
        result covers `target`; counts is a mapping from a name to a number of pixels. Must be picklable.
    parameters : mapping
        What the result depends on, as plain values.
    needs : callable
        The region of its input that a region of its output needs, clipped to the frame.
    scratch : callable
        Bytes that the function takes beside its input and output, for a region of its output.
    itemsize : int
        Bytes of a value of the output.
    shape : callable or None
        Number of values of the output of a region, where it is not the region's own size.
    """

    name: str
    version: int
    function: Callable[[Any, Region, Region], Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    needs: Callable[[Region], Region] = lambda region: region
    scratch: Callable[[Region], int] = lambda region: 0  # noqa: ARG005
    itemsize: int = 4

    def identity(self) -> dict[str, Any]:
        """What a change of means that the result changes."""
        return {"name": self.name, "version": self.version, "parameters": provenance.plain(self.parameters)}


@dataclass(frozen=True)
class Pass:
    """Block operations of one layout, from a source to an image.

    Attributes
    ----------
    image : Image
        What is written.
    source : Source
        What is read.
    ops : tuple of BlockOp
        Applied in this order.
    granule : tuple of int
        Size of the region that is computed whole, along each axis of the image.
    offset : tuple of int
        Index of the image's first voxel in the frame that granules are aligned to.
    inputs : mapping
        What identifies the input data, for the markers.
    on_device : bool
        Compute on a CUDA device.
    planes : tuple
        Where the first axis is time: what each of its planes depends on beside the rest.
    cpu_s : float
        CPU-seconds of all tasks together, roughly.
    held_bytes : int
        Memory that is held beside the tasks.
    beside : int
        Tasks of other passes that run at the same time; see `side_by_side`.
    by_place : bool
        Shards of one place follow each other, through all of the first axis.
    """

    image: Image
    source: Source
    ops: tuple[BlockOp, ...]
    granule: tuple[int, ...]
    offset: tuple[int, ...]
    inputs: Mapping[str, Any]
    on_device: bool = False
    planes: tuple[Any, ...] = ()
    cpu_s: float = 0.0
    held_bytes: int = 0
    beside: int = 0
    by_place: bool = False

    @property
    def name(self) -> str:
        """The path of the image."""
        return self.image.path

    @property
    def need(self) -> Need:
        """What it takes: tasks, memory, time, disk."""
        tasks, disk = math.prod(self.image.grid), self.image.nbytes()
        alone = self.on_device  # one task at a time
        beside = 0 if alone else self.beside
        return Need(self.name, tasks, self.memory(), self.held_bytes, alone, self.cpu_s, beside, disk)

    def bind(self, known: Pass) -> Pass:
        """Return the step with the data that `known` holds; its cost stays."""
        return replace(known, cpu_s=self.cpu_s, held_bytes=self.held_bytes, beside=self.beside)

    def identity(self) -> dict[str, Any]:
        """Everything that the values of all planes depend on."""
        identity: dict[str, Any] = provenance.plain(
            {
                "inputs": dict(self.inputs),
                "ops": {op.name: {"version": op.version, **op.parameters} for op in self.ops},
                "image": self.image.identity(),
                **({"device": "cuda"} if self.on_device else {}),  # equal to 1e-4, not to the last bit
            }
        )
        return identity

    def digest(self, shard: Sequence[int]) -> str:
        """Return the hash that a shard's marker holds."""
        plane = self.planes[shard[0]] if self.planes else None
        return provenance.fingerprint([self.identity(), plane])

    def digests(self) -> list[str]:
        """Return the hashes that the markers hold: one, or one for each plane in time."""
        return [self.digest((plane,)) for plane in range(self.image.grid[0] if self.planes else 1)]

    def shards(self) -> list[tuple[int, ...]]:
        """Indices of all shards, in C order or by place."""
        shards = list(itertools.product(*(range(n) for n in self.image.grid)))
        return sorted(shards, key=lambda shard: (shard[1:], shard[0])) if self.by_place else shards

    def region(self, shard: Sequence[int]) -> Region:
        """Return the voxels of a shard."""
        return tuple(
            slice(k * size, min((k + 1) * size, n))
            for k, size, n in zip(shard, self.image.shard_shape(), self.image.shape, strict=True)
        )

    def granules(self, region: Region) -> Iterator[Region]:
        """Cut a region at the granules' boundaries."""
        return cut(region, self.granule, self.offset)

    def memory(self) -> int:
        """Predict the peak bytes of one task: the largest granule on top of the shard that is being filled."""
        # in the middle, where no end of the volume cuts off what operations look at before and after a shard
        region = self.region([(n - 1) // 2 for n in self.image.grid])
        regions = regions_of(self.ops, max(self.granules(region), key=size_of))
        work = 0
        held = self.source.nbytes(regions[0]) * (2 if self.on_device else 1)  # and the next, being read
        for op, target in zip(self.ops, regions[1:], strict=True):
            out = size_of(target) * op.itemsize
            work = max(work, held + out + op.scratch(target))
            held = out
        shard = size_of(region) * np.dtype(self.image.dtype).itemsize
        # while it is being written, a shard exists as values, as a pyramid and as encoded chunks (twice)
        return int(shard + max(work, held, shard * 2.4))

    def results(self, granules: Iterable[Region]) -> Iterator[tuple[Region, Array, Counter[str]]]:
        """Compute granules one after the other; on a device, the next is read and copied there meanwhile."""
        if not self.on_device:
            for target in granules:
                yield target, *self.compute(target)
            return
        targets = list(granules)
        with device.Uploads() as uploads:
            blocks = uploads.one_ahead(lambda target: self.source.read(regions_of(self.ops, target)[0]), targets)
            for target, block in zip(targets, blocks, strict=True):
                # the block is held until its result is here: the next upload may write where it lay
                yield target, *self.compute(target, block)

    def compute(self, target: Region, block: Any = None) -> tuple[Array, Counter[str]]:
        """Compute one granule (or any region that lies within one), from what its source says unless that is given."""
        regions = regions_of(self.ops, target)
        if block is None and self.on_device:
            block = device.to_device(self.source.read(regions[0]))
        # what was read is held by no name here, so that the operations can let go of it
        result, counts = apply_ops(self.ops, self.source.read(regions[0]) if block is None else block, regions)
        return device.download(result), counts


def side_by_side(passes: Sequence[Pass]) -> list[Pass]:
    """Return passes that know of each other's tasks: they do not depend on each other and run at the same time."""
    tasks = [math.prod(step.image.grid) for step in passes]
    return [replace(step, beside=sum(tasks) - own) for step, own in zip(passes, tasks, strict=True)]


def regions_of(ops: Sequence[BlockOp], target: Region) -> list[Region]:
    """Return the regions before the first op, between them, and after the last, which is the target."""
    regions = [target]
    for op in reversed(ops):
        regions.insert(0, op.needs(regions[0]))
    return regions


def apply_ops(ops: Sequence[BlockOp], block: Any, regions: Sequence[Region]) -> tuple[Any, Counter[str]]:
    """Return a block after all ops, and what they counted; `regions` are from `regions_of`."""
    counts: Counter[str] = Counter()
    for op, before, after in zip(ops, regions[:-1], regions[1:], strict=True):
        result = op.function(block, before, after)
        if isinstance(result, tuple):
            block, found = result
            counts.update({key: int(value) for key, value in found.items()})
        else:
            block = result
    return block, counts


@dataclass(frozen=True)
class ImageSource:
    """Reads an image of the store, or planes `index` of its first axes."""

    folder: str
    shape: tuple[int, ...]
    itemsize: int
    index: tuple[int, ...] = ()

    def read(self, region: Region) -> Array:
        """Read a box, unless the task keeps it (`reads.once`); raises where a chunk is damaged."""
        return reads.box((self.folder, self.index), region, self._read)

    def _read(self, region: Region) -> Array:
        box: tuple[int | slice, ...] = (*self.index, *region)
        return np.asarray(StoredArray(self.folder)[box])

    def nbytes(self, region: Region) -> int:
        """Return the bytes of the box and of the chunks being decoded."""
        return int(size_of(region) * self.itemsize * 1.3)


def unbound(*known: Any) -> Any:
    """Stand for a function that only the run knows."""
    raise RuntimeError(f"a step was executed before its function was bound ({len(known)} arguments)")


@dataclass(frozen=True)
class Nothing:
    """The source of a reduction whose chunks read what they need themselves."""

    bytes_per_voxel: int = 0

    def read(self, region: Region) -> Array:
        """Return nothing."""
        del region
        return np.empty(0)

    def nbytes(self, region: Region) -> int:
        """Return the bytes that a chunk takes for what it reads."""
        return size_of(region) * self.bytes_per_voxel


@dataclass(frozen=True)
class Reduction:
    """A table or curve from blocks: partial results of regions, combined in the order of the regions.

    It is planned before anything is computed; what only the run knows is put in with `bind`, and stands as `unbound`
    until then.

    Attributes
    ----------
    name : str
        Of the step, and of the file in the store that its result is kept in: no two steps of a run share it.
    version : int
        Raised whenever the result changes for equal parameters.
    chunk : callable
        ``chunk(block, region) -> dict of arrays``.
    combine : callable
        ``combine(list of partials) -> dict of arrays``, the result.
    parameters : mapping
        What the result depends on.
    fold : bool
        ``combine`` may be given a result so far and the next partial: partials are taken in as they come, in the
        order of the regions, and need not be held together.
    for_device : bool
        ``chunk`` takes blocks on a CUDA device too and gives the same numbers there; what it returns is on the host.
    source : Source
        What is read.
    regions : sequence of Region
        That are reduced, each by itself.
    inputs : mapping
        What identifies the input data.
    scratch : float
        Memory of a chunk as a multiple of what it reads, measured.
    partial_bytes : int
        Size of one partial result, where it is more than a few numbers.
    cpu_s : float
        CPU-seconds of all regions together, roughly.
    held_bytes : int
        Memory that is held beside the tasks and results.
    """

    name: str
    version: int
    chunk: Callable[[Any, Region], dict[str, Array]]
    combine: Callable[[list[dict[str, Array]]], dict[str, Array]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    fold: bool = False
    for_device: bool = False
    source: Source = field(default_factory=Nothing)
    regions: Sequence[Region] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    scratch: float = 3.0
    partial_bytes: int = 0
    cpu_s: float = 0.0
    held_bytes: int = 0

    @property
    def together(self) -> int:
        """How many regions one task reduces: one, unless that were more tasks than a scheduler likes."""
        return max(1, -(-len(self.regions) // MOST_TASKS))

    @property
    def need(self) -> Need:
        """What it takes: tasks, memory, time."""
        read = max((self.source.nbytes(region) for region in self.regions), default=0)
        # with folding: of the sum, its copy and the cache
        held = (3 if self.fold else len(self.regions)) * self.partial_bytes + self.held_bytes
        tasks = -(-len(self.regions) // self.together)
        task = int(read * (1 + self.scratch)) + 2 * self.partial_bytes
        return Need(self.name, tasks, task, held, cpu_s=self.cpu_s)

    def identity(self) -> dict[str, Any]:
        """Everything that the result depends on."""
        return {
            "name": self.name,
            "version": self.version,
            "parameters": dict(self.parameters),
            "inputs": dict(self.inputs),
        }

    def digests(self) -> list[str]:
        """Return the hash under which the result is kept."""
        return [provenance.fingerprint(self.identity())]

    def bind(self, known: Reduction) -> Reduction:
        """Return the step with the data that `known` holds; its cost stays."""
        return replace(known, scratch=self.scratch, cpu_s=self.cpu_s, held_bytes=self.held_bytes)
