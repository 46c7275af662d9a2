"""Painted labels, and the random forest that is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from xct_pipeline.blocks import Array, Region
from xct_pipeline.config import SegmentClassifier
from xct_pipeline.execution import load_estimate, save_estimate
from xct_pipeline.segmentation.classifier import Forest, Samples, train_forest, training_samples
from xct_pipeline.store import Store

VERSION = 1
TILE = 256
SLAB = 64


class Plane(NamedTuple):
    """A painted plane of one scan."""

    time: int
    z: int
    labels: Array


def trained_forest(
    settings: SegmentClassifier, file: Path, names: Sequence[str], failed: Sequence[int], reference: int,
    read: Callable[[Region], tuple[Array, Region]], shape: tuple[int, ...], inputs: Mapping[str, Any],
    store: Store, seed: int,
) -> Forest:  # fmt: skip
    """Train a forest on the painted planes of a file, or return the cached one of the same planes and seed.

    Parameters
    ----------
    read : callable
        A region (1, z, y, x) to its block with the halo of the features, and the region's place in it.
    shape : tuple of int
        Of the registered series.

    Raises
    ------
    ValueError
        The file cannot be read or does not fit; a material without examples.
    """
    planes = list(painted_planes(settings, file, names, reference, shape))
    _check(settings, file, names, failed, planes)
    key = {
        "version": VERSION, "seed": seed, "trees": settings.trees, "depth": settings.depth, "inputs": dict(inputs),
        "sigmas": settings.sigmas, "denoise": settings.denoise.model_dump(), "painted": [tuple(p) for p in planes],
    }  # fmt: skip
    cached = load_estimate(store, "segmentation/forest", key)
    if cached is None:
        samples = [sample for plane in planes for sample in _samples(plane, read, settings.sigmas)]
        forest = train_forest(samples, seed=seed, trees=settings.trees, depth=settings.depth)
        cached = forest._asdict()
        save_estimate(store, "segmentation/forest", key, cached)
    return Forest(**{name: cached[name] for name in Forest._fields})


def _check(
    settings: SegmentClassifier, file: Path, names: Sequence[str], failed: Sequence[int], planes: Sequence[Plane]
) -> None:
    if not planes:
        raise ValueError(f"{file}: nothing is painted; paint examples of each material with labels from 1")
    lost = sorted({names[plane.time] for plane in planes if plane.time in failed})
    if lost:
        raise ValueError(f"{file}: {', '.join(lost)} is painted but has no registered volume; paint another scan")
    found = np.unique(np.concatenate([np.unique(plane.labels) for plane in planes]))
    count = len(settings.names)
    if found.max() > count:
        raise ValueError(f"{file}: label {found.max()} is painted but only {count} names are given")
    missing = [name for k, name in enumerate(settings.names) if k + 1 not in found]
    if missing:
        raise ValueError(f"{file}: no voxel is painted as {', '.join(missing)}; paint examples of each material")


def _samples(
    plane: Plane, read: Callable[[Region], tuple[Array, Region]], sigmas: Sequence[float]
) -> Iterator[Samples]:
    """Collect features tile by tile, so that memory does not grow with the plane."""
    height, width = plane.labels.shape
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            box = (slice(y, min(y + TILE, height)), slice(x, min(x + TILE, width)))
            labels = plane.labels[box][None]
            if labels.any():
                block, core = read((slice(plane.time, plane.time + 1), slice(plane.z, plane.z + 1), *box))
                yield training_samples(block, labels, sigmas=sigmas, core=core)


def painted_planes(
    settings: SegmentClassifier, file: Path, names: Sequence[str], reference: int, shape: tuple[int, ...]
) -> Iterator[Plane]:
    """Read the planes of a TIFF or an OME-Zarr image that hold painted voxels.

    Raises
    ------
    ValueError
        No such file, no labels in it, or of another size than the registered volume.
    """
    array = _open(file)
    kind = np.dtype(array.dtype).kind
    if kind not in "uib":
        raise ValueError(f"{file}: painted labels are whole numbers, not {array.dtype}")
    if tuple(array.shape) == shape:
        for t in range(shape[0]):
            yield from _of_volume(array, t, (t,), range(shape[1]))
        return
    size = tuple(array.shape[-2:])
    if size != shape[2:] or array.ndim not in (2, 3):
        raise ValueError(
            f"{file}: painted labels of shape {tuple(array.shape)} do not fit the registered series {shape};"
            " paint at full size"
        )
    index = () if array.ndim == 3 else None
    depth = array.shape[0] if array.ndim == 3 else 1
    if settings.z is None and depth != shape[1]:
        raise ValueError(f"{file}: {depth} planes of {shape[1]}: say which they are by segmentation.z = [...]")
    z = list(settings.z) if settings.z is not None else list(range(depth))
    if len(z) != depth or any(k >= shape[1] for k in z):
        raise ValueError(
            f"segmentation.z = {z}: give one plane of 0 to {shape[1] - 1} for each of the {depth} in {file}"
        )
    yield from _of_volume(array, _scan_index(settings, names, reference), index, z)


def _scan_index(settings: SegmentClassifier, names: Sequence[str], reference: int) -> int:
    chosen = settings.scan
    if chosen is None:
        return reference
    if isinstance(chosen, str) and chosen in names:
        return list(names).index(chosen)
    if isinstance(chosen, int) and chosen < len(names):
        return chosen
    raise ValueError(f"segmentation.scan = {chosen!r} is no scan; there are {', '.join(names)}")


def _of_volume(array: Any, time: int, index: tuple[int, ...] | None, z: Sequence[int]) -> Iterator[Plane]:
    """Yield the painted planes of a volume, or of a single plane where `index` is None."""
    for start in range(0, len(z), SLAB):
        slab = array[:][None] if index is None else array[(*index, slice(start, start + SLAB))]
        for k, plane in enumerate(np.asarray(slab)):
            if plane.any():
                if plane.min() < 0 or plane.max() > 255:
                    raise ValueError(
                        f"painted labels from {plane.min()} to {plane.max()}: use 1 to 255, 0 for unpainted"
                    )
                yield Plane(time, z[start + k], np.ascontiguousarray(plane, np.uint8))


def _open(file: Path) -> Any:
    if not file.exists():
        raise ValueError(f"segmentation.labels: {file} does not exist")
    if file.is_file():
        import tifffile

        try:
            return np.asarray(tifffile.imread(file))
        except (tifffile.TiffFileError, OSError, ValueError) as error:
            raise ValueError(f"segmentation.labels: {file} cannot be read as TIFF ({error})") from None
    try:
        node = zarr.open(str(file), mode="r")
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise ValueError(f"segmentation.labels: {file} is neither a TIFF nor an OME-Zarr image ({error})") from None
    if isinstance(node, zarr.Array):
        return node
    attributes = dict(node.attrs)
    ome: Any = attributes.get("ome", attributes)
    if "multiscales" in ome:
        return node[ome["multiscales"][0]["datasets"][0]["path"]]
    inner = list(ome.get("labels", []))
    if len(inner) == 1:
        return _open(file / inner[0])
    what = f"holds the labels {', '.join(inner)}: name one of them" if inner else "holds no OME-Zarr image"
    raise ValueError(f"segmentation.labels: {file} {what}")
