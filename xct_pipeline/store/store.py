"""The zarr store of one experiment: OME-Zarr images, tables, markers and the lock of a run.

Everything about a sample lives in one directory. Images are OME-Zarr 0.5 groups whose arrays are sharded,
checksummed (crc32c on every inner chunk) and multiscale; ``.xct/`` beside them holds the mark that makes the
folder ours and what makes a run resumable: a marker per finished shard, cached estimates, the lock.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xct_pipeline.inputs import read_bytes
from xct_pipeline.names import shown
from xct_pipeline.store import ownership, provenance, seal
from xct_pipeline.store.arrays import array_bytes
from xct_pipeline.store.files import (
    HEALED,
    RefusedError,
    StoreError,
    marker_file,
    read_attributes,
    write_atomic,
    write_changed,
    write_group,
)
from xct_pipeline.store.holder import held, lease_folder
from xct_pipeline.store.image import CHUNK, SPATIAL, Image, level_count, ome_metadata
from xct_pipeline.store.layout import STATE
from xct_pipeline.store.marker import Marker, problem_of, read_marker, shard_files, write_marker
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.store.table_files import read_table, write_table

if TYPE_CHECKING:
    import pandas as pd

FORMAT = ownership.FORMAT
KINDS: dict[str, type] = {
    **dict.fromkeys(("scans", "times_s", "facts", "config", "versions"), dict),
    **dict.fromkeys(("order", "warnings", "derived"), list),
}
log = logging.getLogger("xct")

__all__ = [
    "CHUNK",
    "SPATIAL",
    "Image",
    "RefusedError",
    "Store",
    "StoreError",
    "StoredArray",
    "level_count",
    "ome_metadata",
    "read_attributes",
    "write_atomic",
    "write_group",
]


class Store:
    """One experiment's directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def state(self) -> Path:
        """The folder of markers, cached estimates and the lock."""
        return self.path / STATE

    def exists(self) -> bool:
        """Tell whether the store has been begun, even if it was killed before its first metadata."""
        return ownership.is_ours(self.path)

    def attributes(self) -> dict[str, Any]:
        """Return the ``xct`` attributes of the root, empty before the first run wrote them.

        Raises
        ------
        StoreError
            They are damaged, or those of another store.
        """
        found = dict(read_attributes(self.path).get("xct", {}))
        for key, kind in KINDS.items():
            if not isinstance(found.get(key, kind()), kind):
                raise StoreError(f"{self.path / 'zarr.json'}: {key} is no {kind.__name__}, so xct did not write it")
        strange = set(found.get("scans", {})) - set(self.known_scans())
        if strange:
            name = min(strange)
            raise StoreError(f"{self.path / 'zarr.json'}: names {name}, which is no scan of this store; {HEALED}")
        return found

    def known_scans(self) -> dict[str, list[str]]:
        """Return every scan that was ever taken in, with its main raw files relative to the store."""
        return ownership.known_scans(self.path)

    def refuse_foreign(self, scans: Mapping[str, list[str]], exclude: Collection[str] = ()) -> None:
        """Refuse a directory that is not, or cannot become, the store of these scans; write nothing.

        Parameters
        ----------
        scans : mapping
            Name of each scan and its main raw files, relative to the store's folder.
        exclude : collection of str
            Names that the configuration leaves out.

        Raises
        ------
        RefusedError
            The directory holds something else, or another experiment, or a scan that is found no more.
        """
        ownership.require_place(self.path)
        if self.path.is_dir() and any(self.path.iterdir()) and not self.exists():
            raise RefusedError(f"{self.path} exists and is not a store of xct; choose another output or remove it")
        known = self.known_scans() if self.path.is_dir() else {}
        clash = sorted(name for name in scans if name in known and known[name] != scans[name])
        if known and (clash or not set(known) & set(scans)):
            what = f"its {clash[0]} is {', '.join(known[clash[0]])}" if clash else f"its scans are {', '.join(known)}"
            raise RefusedError(
                f"{self.path} belongs to another experiment ({what}); choose another output or delete the store"
            )
        for name in sorted(set(known) - set(scans) - set(exclude)):
            raise RefusedError(
                f"{name} is a scan of {self.path} but the configuration finds it no more (it was "
                f"{', '.join(known[name])}); bring it back, leave it out with [acquisition] exclude = "
                f"{json.dumps([name])}, or let the store forget it: xct forget {self.path} {shlex.quote(name)}"
            )
        for name in sorted(set(exclude) - set(known)):
            log.warning("acquisition.exclude names %s, which is neither found nor in the store", name)

    def claim(self, scans: Mapping[str, list[str]], exclude: Collection[str] = ()) -> None:
        """Make the directory the store of these scans, or refuse as `refuse_foreign` does; hold the lock."""
        self.refuse_foreign(scans, exclude)
        ownership.write_mark(self.path, {**self.known_scans(), **scans})
        for path in ownership.leftovers(self.path):
            ownership.remove(self.path, path)
        self.update({"scans": dict(scans), "format": FORMAT, "versions": provenance.versions()})

    def join(self, scans: Mapping[str, list[str]], exclude: Collection[str] = ()) -> None:
        """Make the directory the store of these scans, or refuse, beside others who do so; hold the lease of a scan."""
        self.refuse_foreign(scans, exclude)
        ownership.write_mark(self.path, {**self.known_scans(), **scans})

    def begin(self) -> None:
        """Mark a new or empty folder as a store.

        Raises
        ------
        RefusedError
            It holds something else.
        """
        if self.path.is_dir() and any(self.path.iterdir()) and not self.exists():
            raise RefusedError(f"{self.path} exists and is not a store of xct; choose another output or remove it")
        if not (self.path / ownership.MARK).exists():
            ownership.write_mark(self.path, self.known_scans() if self.path.is_dir() else {})

    def forget(self, name: str) -> None:
        """Let go of a scan and of everything that was made of it alone; hold the lock.

        Raises
        ------
        StoreError
            The store knows no such scan.
        """
        known = self.known_scans()
        if name not in known:
            raise StoreError(f"{self.path} has no scan {shown(name)}; it has: {', '.join(known) or 'none'}")
        for place in (f"scans/{name}", f"{STATE}/markers/scans/{name}", f"{STATE}/estimates/{name}"):
            ownership.remove(self.path, place)
        left = {other: files for other, files in known.items() if other != name}
        ownership.write_mark(self.path, left)
        found = read_attributes(self.path)
        attributes = found.get("xct", {})
        for key in ("scans", "times_s", "facts"):
            if key in attributes:
                attributes[key] = {k: v for k, v in attributes[key].items() if k != name}
        write_group(self.path, {**found, "xct": attributes})

    def update(self, attributes: Mapping[str, Any]) -> None:
        """Merge `attributes` into the root's ``xct`` attributes, in one atomic write; damaged ones are left behind."""
        others: dict[str, Any] = {}
        try:
            before = self.attributes()
            others = read_attributes(self.path)
        except StoreError:
            before = {}
        write_group(self.path, {**others, "xct": {**before, **provenance.plain(attributes)}})

    @contextlib.contextmanager
    def lock(self, scan: str | None = None) -> Iterator[None]:
        """Hold the store for one run, or a scan of it. The lock is the kernel's, so that it ends with its process.

        Raises
        ------
        RefusedError
            Another run is alive on the store, or on that scan, or a part of it lies elsewhere by a link.
        """
        ownership.require_unlinked(self.path)
        self.state.mkdir(parents=True, exist_ok=True)
        if scan is not None:
            ownership.inside(self.path, lease_folder(self.path, scan).relative_to(self.path))
        with held(self.path, scan):
            yield

    def still(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which no run changes the store; one that cannot be written to has none.

        Raises
        ------
        RefusedError
            A run does.
        """
        return self.lock() if os.access(self.state, os.W_OK) else contextlib.nullcontext()

    def prepare(self, image: Image) -> bool:
        """Create an image's group and arrays, or continue those that are there.

        This is the one way to an image that is written. What is there is continued where its identity, the grid of
        its shards included, is the same; else it is removed. Metadata that are missing or damaged are written anew.

        Returns
        -------
        bool
            True where there was no such image, or another, which had to give way.

        Raises
        ------
        RefusedError
            The folder is no store of ours, or the image would lie outside it.
        """
        self.begin()
        folder = ownership.inside(self.path, image.path)
        for written in (*(folder / str(level) / "c" for level in range(image.levels)), self._markers(image)):
            ownership.inside(self.path, written.relative_to(self.path))
        try:
            current = read_attributes(folder)
        except StoreError as error:
            log.warning("%s", error)
            current = {}
        xct = current.get("xct", {})
        if "derived" in xct:  # described so far, and stored from now on
            xct = {}
        other = "identity" in xct and xct["identity"] != provenance.plain(image.identity())
        if other:
            ownership.remove(self.path, image.path)
            xct = {}
        for parent in self.missing_groups(image.path):
            write_group(parent, {})
        arrays = [self._array(image, level, xct.get("arrays", [])) for level in range(image.levels)]
        self._describe(image, arrays)
        return other or "identity" not in xct

    def _markers(self, image: Image) -> Path:
        return marker_file(self.path, image.path, (0,)).parent

    def _array(self, image: Image, level: int, known: Sequence[str]) -> str:
        """Write an array's metadata unless they are what was written before; return their digest."""
        file = self.path / image.path / str(level) / "zarr.json"
        with contextlib.suppress(OSError, ValueError):
            there = seal.digest(read_bytes(file))
            if level < len(known) and there == known[level]:
                return there
        file.parent.mkdir(parents=True, exist_ok=True)
        data = array_bytes(image, level)
        write_changed(file, data)
        return seal.digest(data)

    def _describe(self, image: Image, arrays: Sequence[str]) -> None:
        xct = {
            **provenance.plain(image.attributes),
            "unit": image.unit,
            "identity": provenance.plain(image.identity()),
            "layout": [image.thickness, image.levels],
            "arrays": list(arrays),
        }
        ome = {"ome": ome_metadata(image)} if image.spatial else {}
        write_group(self.path / image.path, {**ome, "xct": xct})

    def described(self, image: Image) -> bool:
        """Tell whether the metadata of an image, of its arrays and of the folders above it are as they were written."""
        folder = self.path / image.path
        known = read_attributes(folder).get("xct", {}).get("arrays", [])
        files = [folder / str(level) / "zarr.json" for level in range(image.levels)]
        try:
            found = [seal.digest(read_bytes(file)) for file in files]
        except (OSError, ValueError):
            return False
        return found == list(known) and not self.missing_groups(image.path)

    def missing_groups(self, path: str) -> list[Path]:
        """Return the folders above an image, the root first, without sound metadata; what is damaged is told."""
        missing = []
        for folder in (self.path, *(self.path / parent for parent in reversed(Path(path).parents[:-1]))):
            try:
                there = (folder / "zarr.json").exists() and read_attributes(folder) is not None
            except StoreError as error:
                log.warning("%s", error)
                there = False
            missing += [] if there else [folder]
        return missing

    def holds(self, image: Image, shard: tuple[int, ...], fingerprint: str) -> Marker | None:
        """Return the marker of a shard that is finished and what it vouches for, else None.

        Files whose size and time are those of the marker are taken as they are; of others the digest is compared.
        """
        marker = read_marker(self.path, image.path, shard)
        files = self.shard_files(image, shard)
        if marker is None or marker.fingerprint != fingerprint or marker.files is None:
            return None
        if len(files) != len(marker.files) or any(map(problem_of, files, marker.files)):
            return None
        return marker

    def renewed(self, image: Image, shard: tuple[int, ...], marker: Marker) -> Marker:
        """Return the marker of a shard that `holds` found, with the times of its files (a copy's are others)."""
        times = [file.stat().st_mtime_ns for file in self.shard_files(image, shard)]
        files = tuple(replace(f, mtime_ns=t) for f, t in zip(marker.files or (), times, strict=True))
        if files != marker.files:
            marker = replace(marker, files=files)
            write_marker(self.path, image.path, shard, marker)
        return marker

    def void(self, image: Image, shard: Sequence[int]) -> None:
        """Take back that a shard is finished."""
        file = marker_file(self.path, image.path, shard)
        if file.exists():
            ownership.remove(self.path, file.relative_to(self.path))

    def shard_files(self, image: Image, shard: tuple[int, ...]) -> list[Path]:
        """Return the files that the task of one shard writes, one per level that it covers."""
        return shard_files(self.path, image, shard)

    def write_table(self, name: str, table: pd.DataFrame) -> Path:
        """Write ``tables/<name>.csv``, and unit and meaning of each of its columns into ``tables/README.json``.

        Raises
        ------
        ValueError
            The table or one of its columns is not declared in `xct_pipeline.store.tables`.
        """
        self.begin()
        return write_table(self.path, name, table)

    def read_table(self, name: str) -> pd.DataFrame:
        """Read ``tables/<name>.csv``: names as text, whatever they look like."""
        return read_table(self.path, name)
