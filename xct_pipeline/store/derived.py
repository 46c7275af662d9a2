"""Images that are arithmetic on the registered series: described in the store, computed where they are looked at.

A change against another scan, and what a linear closure makes of it, is ``slope * (later - earlier) + base`` voxel by
voxel. The group of such an image holds its metadata and this formula for each plane along t, and no array. Since the
levels of the series are block means, the same formula holds at every level.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.store import layout, ownership, provenance
from xct_pipeline.store.files import StoreError, read_attributes, write_group
from xct_pipeline.store.image import Image, ome_metadata
from xct_pipeline.store.layout import STATE
from xct_pipeline.store.marker import note_file
from xct_pipeline.store.remote import remote_array
from xct_pipeline.store.stored_array import StoredArray

if TYPE_CHECKING:
    from xct_pipeline.store.store import Store

Term = tuple[int, int, float, float]
"""Later plane, earlier plane, slope, base: stands for slope * (later - earlier) + base."""
Plane = tuple[Term, ...] | None
"""Terms that are added up; none for zeros, None for a plane without data (NaN)."""


class DerivedArray:
    """One level of an image that is computed from the registered series while it is read.

    It is read as `StoredArray` is: damage and absence are those of the series, and told by its files.

    Parameters
    ----------
    series : StoredArray or zarr.Array
        The same level of the registered series, (t, z, y, x).
    planes : sequence of Plane
        What each plane along t is made of.
    name : str
        Of the image, for messages.

    Raises
    ------
    StoreError
        The series holds another number of scans than the image was described for.
    """

    def __init__(self, series: Any, planes: Sequence[Plane], name: str) -> None:
        self._series, self._planes = series, tuple(planes)
        self.shape: tuple[int, ...] = tuple(series.shape)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self.shards: tuple[int, ...] | None = series.shards
        self.chunks: tuple[int, ...] = series.chunks
        if len(self._planes) != self.shape[0]:
            raise StoreError(
                f"{name} is described for {len(self._planes)} scans and the registered series holds {self.shape[0]}; "
                "xct run describes it anew"
            )

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> npt.NDArray[np.float32]:
        parts = index if isinstance(index, tuple) else (index,)
        if any(part is Ellipsis for part in parts):
            k = next(k for k, part in enumerate(parts) if part is Ellipsis)
            parts = (*parts[:k], *[slice(None)] * (self.ndim - len(parts) + 1), *parts[k + 1 :])
        whole = [*parts, *[slice(None)] * (self.ndim - len(parts))]
        first, box = whole[0], whole[1:]
        held: dict[int, npt.NDArray[Any]] = {}
        if not isinstance(first, slice) and np.ndim(first) == 0:
            return self._plane(int(first), box, held)
        times = range(*first.indices(self.shape[0])) if isinstance(first, slice) else np.asarray(first).tolist()
        read = [self._plane(t, box, held) for t in times]
        return np.stack(read) if read else self._empty(box)[None][:0]

    def _plane(self, t: int, box: Sequence[Any], held: dict[int, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        terms = self._planes[t]
        if not terms:
            return np.full_like(self._empty(box), np.nan if terms is None else 0)
        total = np.float32(0)
        for later, earlier, slope, base in terms:
            change = self._read(later, box, held) - self._read(earlier, box, held)
            part = change if slope == 1 else change * np.float32(slope)
            total = total + (part + np.float32(base) if base else part)
        return np.asarray(total, np.float32)

    def _read(self, t: int, box: Sequence[Any], held: dict[int, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        if t not in held:
            held[t] = np.asarray(self._series[(t, *box)])
        return held[t]

    def _empty(self, box: Sequence[Any]) -> npt.NDArray[np.float32]:
        """Return an array of the shape that an index of the spatial axes gives."""
        nothing: npt.NDArray[np.float32] = np.broadcast_to(np.float32(0), self.shape[1:])
        return np.asarray(nothing[tuple(box)])


def describe(store: Store, image: Image, planes: Sequence[Plane]) -> None:
    """Write the group of an image that is derived; an array of an earlier run in its place is removed.

    Parameters
    ----------
    store : Store
    image : Image
        In the grid of the registered series.
    planes : sequence of Plane
    """
    folder = ownership.inside(store.path, image.path)
    try:
        derived = "derived" in read_attributes(folder).get("xct", {})
    except StoreError:
        derived = False
    if folder.exists() and not derived:
        ownership.remove(store.path, image.path)
    ownership.remove(store.path, f"{STATE}/markers/{image.path}")
    ownership.remove(store.path, note_file(store.path, image.path).relative_to(store.path))
    for parent in store.missing_groups(image.path):
        write_group(parent, {})
    formula = {"from": layout.REGISTERED, "path": image.path, "planes": planes, "ome": ome_metadata(image)}
    xct = {
        **provenance.plain(image.attributes),
        "unit": image.unit,
        "identity": provenance.plain(image.identity()),
        "layout": [image.thickness, image.levels],
        "derived": provenance.plain(formula),
    }
    write_group(folder, {"xct": xct})


def image_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of an image, as `read_attributes`, with the ``ome`` of one that is derived.

    Raises
    ------
    StoreError
        They are damaged.
    """
    return with_ome(read_attributes(folder))


def with_ome(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a group with the ``ome`` that a derived image keeps among its own."""
    derived = attributes.get("xct", {}).get("derived")
    return {**attributes, "ome": derived["ome"]} if derived else dict(attributes)


def open_array(folder: str | os.PathLike[str]) -> StoredArray | DerivedArray:
    """Open one level of an image of a store, stored or derived, for reading.

    Raises
    ------
    StoreError
        It is not there, or damaged.
    """
    folder = Path(folder)
    derived = read_attributes(folder.parent).get("xct", {}).get("derived")
    if not derived:
        return StoredArray(folder)
    root = folder.parents[len(Path(derived["path"]).parts)]
    series = StoredArray(root / derived["from"] / folder.name)
    return DerivedArray(series, _planes(derived), str(folder.parent))


def open_remote(url: str, level: str, attributes: Mapping[str, Any]) -> Any:
    """Open one level of an image elsewhere, stored or derived; `attributes` are those of its group.

    Raises
    ------
    StoreError
        It cannot be reached.
    """
    derived = attributes.get("xct", {}).get("derived")
    if not derived:
        return remote_array(f"{url}/{level}")
    root = url.removesuffix(f"/{derived['path']}")
    return DerivedArray(remote_array(f"{root}/{derived['from']}/{level}"), _planes(derived), url)


def missing(store: Store) -> list[str]:
    """Return the derived images that the last run described and that are described no more."""
    there = store.attributes().get("derived", [])
    return [path for path in there if "derived" not in read_attributes(store.path / path).get("xct", {})]


def _planes(derived: Mapping[str, Any]) -> list[Plane]:
    return [None if terms is None else tuple(map(tuple, terms)) for terms in derived["planes"]]
