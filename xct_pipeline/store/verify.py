"""Whether a store is what its runs wrote: metadata, grids, places, digests, markers, tables, leftovers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xct_pipeline.inputs import read_bytes
from xct_pipeline.store import layout, ownership, records, seal
from xct_pipeline.store.arrays import array_bytes
from xct_pipeline.store.files import StoreError, marker_file, place_of, read_attributes
from xct_pipeline.store.image import Image
from xct_pipeline.store.inventory import INPUTS, changed_inputs
from xct_pipeline.store.layout import STATE
from xct_pipeline.store.marker import (
    Marker,
    expected_fingerprint,
    note_file,
    problem_of,
    read_marker,
    read_note,
    shard_files,
)
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray


@dataclass(frozen=True)
class Problem:
    """Something in a store that is not what was written.

    Attributes
    ----------
    place : str
        Of the file, relative to the store.
    what : str
        Is wrong with it.
    remove : tuple of str
        What must go, relative to the store, for the next run to compute or write exactly that; empty where nothing
        in the store can mend it.
    """

    place: str
    what: str
    remove: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass
class Verdict:
    """What was found.

    Attributes
    ----------
    problems : list of Problem
    unfinished : list of str
        Images of which shards are not computed: no harm, the next run computes them.
    images, shards : int
        That were looked at.
    """

    problems: list[Problem] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    images: int = 0
    shards: int = 0


def verify(store: Store, deep: bool = False) -> Verdict:
    """Compare everything in a store with what its runs wrote.

    Parameters
    ----------
    store : Store
    deep : bool
        Decode every chunk as well, and compare the whole content of raw files that can be reached.

    Raises
    ------
    StoreError
        There is no store.
    """
    if not store.exists():
        raise StoreError(f"{store.path} is no store of xct")
    verdict = Verdict()
    verdict.problems += _documents(store)
    paths = image_paths(store.path)
    for path in paths:
        verdict.problems += _image(store, path, deep, verdict)
    verdict.problems += _replaced(store.path, paths)
    verdict.problems += _strays(store.path, paths)
    verdict.problems += _groups(store.path, paths)
    verdict.problems += _tables(store.path)
    verdict.problems += [Problem(str(p), "left by a write that was killed", (str(p),)) for p in _left(store.path)]
    if deep:
        verdict.problems += [Problem(name, what) for name, what in changed_inputs(store)]
    return verdict


def repair(store: Store, problems: Sequence[Problem]) -> list[Problem]:
    """Remove what is wrong, so that the next run computes exactly that; return what it cannot mend. Hold the lock."""
    for place in dict.fromkeys(place for problem in problems for place in problem.remove):
        if place == ownership.MARK:
            ownership.mend_mark(store.path)
        elif place == records.RECORDS:
            ownership.remove(store.path, place)
        elif place in (known := records.records(store.path)):
            ownership.remove(store.path, place)
            records.write_records(store.path, {k: v for k, v in known.items() if k != place})
        else:
            ownership.remove(store.path, place)
    return [problem for problem in problems if not problem.remove]


def image_paths(root: Path) -> list[str]:
    """Return the places of all images that a store has, by their folders or by what is noted of them."""
    notes = (root / STATE / "markers").rglob("*.pass.json")
    found = {f.relative_to(root / STATE / "markers").as_posix().removesuffix(".pass.json") for f in notes}
    for folder, names, files in os.walk(root):
        if "c" in names and "zarr.json" in files and Path(folder).name.isdecimal():
            found.add(Path(folder).parent.relative_to(root).as_posix())
        names[:] = [name for name in names if name not in ("c", STATE)]
    return sorted(path for path in found if (root / path).is_dir())


def _documents(store: Store) -> Iterator[Problem]:
    """Yield what is wrong with the mark, the root and the cached estimates."""
    root = store.path
    try:
        if ownership.read_mark(root) is None and _attributes(root).get("format", 0) >= ownership.FORMAT:
            yield Problem(ownership.MARK, "is missing", (ownership.MARK,))
    except StoreError as error:
        yield Problem(ownership.MARK, _reason(error, root / ownership.MARK), (ownership.MARK,))
    try:
        if not store.attributes():
            yield Problem("zarr.json", "is missing", ("zarr.json",))
    except StoreError as error:
        yield Problem("zarr.json", _reason(error, root / "zarr.json"), ("zarr.json",))
    file = root / records.RECORDS
    if file.exists() and not _is_sealed(file):
        yield Problem(records.RECORDS, "is damaged", (records.RECORDS, *_table_places(root)))
    for place in (layout.STEPS, layout.PLAN, INPUTS):
        if (root / place).exists() and not _is_sealed(root / place):
            yield Problem(place, "is damaged", (place,))
    for estimate in sorted((root / STATE / "estimates").rglob("*.npz")):
        try:
            records.read_estimate(estimate)
        except (OSError, ValueError):
            place = estimate.relative_to(root).as_posix()
            yield Problem(place, "is damaged", (place,))


def _attributes(folder: Path) -> Mapping[str, Any]:
    try:
        return dict(read_attributes(folder).get("xct", {}))
    except StoreError:
        return {}


def _reason(error: StoreError, file: Path) -> str:
    return str(error).removeprefix(f"{file}: ").split(";")[0]


def _is_sealed(file: Path) -> bool:
    """Tell whether a document is what was written there."""
    try:
        seal.loads(read_bytes(file), place_of(file))
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return True


def _image(store: Store, path: str, deep: bool, verdict: Verdict) -> Iterator[Problem]:
    """Yield what is wrong with one image."""
    root, place = store.path, f"{path}/zarr.json"
    xct: Mapping[str, Any] = {}
    try:
        xct = read_attributes(root / path).get("xct", {})
        wrong = "" if "identity" in xct else "is missing"
    except StoreError as error:
        wrong = _reason(error, root / place)
    note = note_file(root, path).relative_to(root).as_posix()
    if (root / note).exists() and not _is_sealed(root / note):
        yield Problem(note, "is damaged", (note,))
    image = _described(root, path, xct)
    if wrong:
        lost = () if image is not None else tuple(_markers(root, path))  # nothing tells what they vouch for
        yield Problem(place, wrong, (place, *lost))
    elif "arrays" not in xct:
        verdict.unfinished.append(f"{path}: written by an earlier version, without digests; xct run computes it anew")
        return
    if image is None:
        return
    verdict.images += 1
    known = xct.get("arrays") or [seal.digest(array_bytes(image, level)) for level in range(image.levels)]
    problems = [_array(root, image, level, known) for level in range(image.levels)]
    found = [problem for problem in problems if problem is not None]
    yield from found
    yield from _shards(root, image, deep and not found and not wrong, verdict)


def _markers(root: Path, path: str) -> list[str]:
    files = sorted(marker_file(root, path, (0,)).parent.glob("*.json"))
    return [file.relative_to(root).as_posix() for file in files if not file.name.endswith(".pass.json")]


def _described(root: Path, path: str, xct: Mapping[str, Any]) -> Image | None:
    """Return the image that its group describes, or where that is damaged, what is noted of its values."""
    try:
        return Image.from_identity(path, xct.get("identity") or read_note(root, path)["image"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _array(root: Path, image: Image, level: int, known: Sequence[str]) -> Problem | None:
    """Say what is wrong with the metadata of one level."""
    place = f"{image.path}/{level}/zarr.json"
    try:
        data = read_bytes(root / place)
    except FileNotFoundError:
        return Problem(place, "is missing", (place,))
    except (OSError, ValueError):
        return Problem(place, "damaged metadata", (place,))
    return None if seal.digest(data) == known[level] else Problem(place, "damaged metadata", (place,))


def _shards(root: Path, image: Image, decode: bool, verdict: Verdict) -> Iterator[Problem]:
    """Yield what is wrong with the shards of an image and with their markers."""
    try:
        identity: dict[str, Any] | None = read_note(root, image.path)
    except (OSError, ValueError, TypeError, KeyError):
        identity = None
    missing = total = 0
    for shard in image.shards():
        total += 1
        file = marker_file(root, image.path, shard)
        marker = read_marker(root, image.path, shard)
        if marker is None and file.exists():
            name = file.relative_to(root).as_posix()
            yield Problem(name, "is damaged", (name,))
        missing += marker is None
        if marker is not None:
            yield from _shard(root, image, shard, marker, identity)
            if decode:
                yield from _decoded(root, image, shard)
    verdict.shards += total
    if missing:
        verdict.unfinished.append(f"{image.path}: {missing} of {total} shards are not computed")


def _shard(
    root: Path, image: Image, shard: tuple[int, ...], marker: Marker, note: Mapping[str, Any] | None
) -> Iterator[Problem]:
    own = marker_file(root, image.path, shard).relative_to(root).as_posix()
    if note is not None and marker.fingerprint != expected_fingerprint(note, shard):
        yield Problem(own, "vouches for another image", (own,))
        return
    files = shard_files(root, image, shard)
    if marker.files is None or len(marker.files) != len(files):
        yield Problem(own, "vouches for other files", (own,))
        return
    for file, expected in zip(files, marker.files, strict=True):
        problem = problem_of(file, expected, full=True)
        if problem:
            place = file.relative_to(root).as_posix()
            yield Problem(place, problem, (own, place))


def _decoded(root: Path, image: Image, shard: tuple[int, ...]) -> Iterator[Problem]:
    """Yield the files of a shard that cannot be decoded."""
    for level, file in enumerate(shard_files(root, image, shard)):
        sizes = image.shard_shape(level)
        try:
            StoredArray(root / image.path / str(level))[
                tuple(slice(k * size, (k + 1) * size) for k, size in zip(shard, sizes, strict=True))
            ]
        except StoreError as error:
            place = file.relative_to(root).as_posix()
            own = marker_file(root, image.path, shard).relative_to(root).as_posix()
            yield Problem(place, _reason(error, file), (own, place))


def _replaced(root: Path, paths: Sequence[str]) -> Iterator[Problem]:
    """Yield images that are whole but not those that the last run made or found: of another store, for instance."""
    try:
        made = seal.loads(read_bytes(root / layout.STEPS), layout.STEPS)["digests"]
    except (OSError, ValueError, TypeError, KeyError):
        return  # it has not ended, or is told as damaged
    for path in paths:
        try:
            note = read_note(root, path)
            found = [expected_fingerprint(note, (plane,)) for plane in range(len(made[path]))]
        except (OSError, ValueError, TypeError, KeyError):
            continue
        except IndexError:
            found = []
        if found != made[path]:
            place = note_file(root, path).relative_to(root).as_posix()
            yield Problem(place, "is of another image than the last run made", (place, *_markers(root, path)))


def _strays(root: Path, paths: Sequence[str]) -> Iterator[Problem]:
    """Yield files that no grid has a place for, and markers of images that are not there."""
    for path in paths:
        image = _described(root, path, _attributes(root / path))
        if image is None:
            continue
        known = {file for shard in image.shards() for file in shard_files(root, image, shard)}
        for level in sorted(p for p in (root / path).iterdir() if p.name.isdecimal()):
            for file in sorted(f for f in (level / "c").rglob("*") if f.is_file()):
                if file not in known and not ownership.is_temporary(file.name):
                    place = file.relative_to(root).as_posix()
                    yield Problem(place, "has no place in the grid of shards", (place,))
        names = {marker_file(root, path, shard).name for shard in image.shards()}
        for file in sorted(marker_file(root, path, (0,)).parent.glob("*.json")):
            if file.name not in names and not file.name.endswith(".pass.json"):
                place = file.relative_to(root).as_posix()
                yield Problem(place, "is the marker of no shard of the grid", (place,))


def _groups(root: Path, paths: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with the groups that images lie in, and with those of images that are derived."""
    groups = {parent for path in paths for parent in Path(path).parents if str(parent) != "."} - set(map(Path, paths))
    groups |= {Path(path) for path in _attributes(root).get("derived", ())}
    groups |= set(_group_folders(root)) - set(map(Path, paths))  # those of a root that is damaged itself, too
    known = records.records(root)
    for group in sorted(groups):
        place = f"{group.as_posix()}/zarr.json"
        if place in known:  # told by its digest
            continue
        if not (root / place).exists():
            yield Problem(place, "is missing", (place,))
            continue
        try:
            read_attributes(root / group)
        except StoreError as error:
            yield Problem(place, _reason(error, root / place), (place,))


def _group_folders(root: Path) -> Iterator[Path]:
    """Yield the folders below the root that hold metadata and are no arrays, relative to it."""
    for folder, names, files in os.walk(root):
        here = Path(folder)
        names[:] = [name for name in names if name not in ("c", STATE)]
        if "zarr.json" in files and here != root and not here.name.isdecimal():
            yield here.relative_to(root)


def _table_places(root: Path) -> list[str]:
    files = [
        *sorted((root / "tables").glob("*.csv")),
        *(root / p for p in (layout.COLUMNS, layout.REPORT, layout.CRATE)),
    ]
    return [file.relative_to(root).as_posix() for file in files if file.exists()]


def _tables(root: Path) -> Iterator[Problem]:
    """Yield tables, their units and a report that are not what was written."""
    for place in records.records(root):
        problem = records.problem(root, root / place)
        if problem:
            yield Problem(place, problem, (place,))


def _left(root: Path) -> list[Path]:
    return ownership.leftovers(root)
