"""What vouches for a finished shard: its fingerprint, what it counted, and the digests of its files."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xct_pipeline.inputs import read_bytes, require_regular
from xct_pipeline.store import provenance, seal
from xct_pipeline.store.files import marker_file, place_of, write_changed
from xct_pipeline.store.image import Image

BLOCK = 1 << 20


@dataclass(frozen=True)
class Written:
    """One file of a finished shard: its size in bytes, its time of modification, and the digest of its bytes."""

    size: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True)
class Marker:
    """What vouches for a finished shard.

    Attributes
    ----------
    fingerprint : str
        Of everything that its values depend on, and of the grid that it is a part of.
    counts : mapping
        From a name to a number of pixels.
    seconds : float
        That it took.
    files : tuple of Written or None
        One for each level; None in stores of earlier versions.
    """

    fingerprint: str
    counts: Mapping[str, int]
    seconds: float
    files: tuple[Written, ...] | None


def write_marker(root: Path, name: str, shard: Sequence[int], marker: Marker) -> None:
    """Call a shard finished."""
    file = marker_file(root, name, shard)
    files = [[f.size, f.mtime_ns, f.digest] for f in marker.files or ()]
    document = {"fingerprint": marker.fingerprint, "counts": dict(marker.counts), "seconds": marker.seconds}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_changed(file, seal.dumps({**document, "files": files}, place_of(file)))


def read_marker(root: Path, name: str, shard: Sequence[int]) -> Marker | None:
    """Return what vouches for a shard, None where nothing does: no marker, or one that is damaged."""
    file = marker_file(root, name, shard)
    try:
        status = file.stat()
        return _parsed(str(file), place_of(file), status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    except (OSError, ValueError, TypeError, KeyError):
        return None


@functools.lru_cache(maxsize=4096)
def _parsed(file: str, place: str, *_status: int) -> Marker:
    document = seal.loads(read_bytes(Path(file)), place)
    counts = {str(key): int(value) for key, value in dict(document["counts"]).items()}
    files = document.get("files")
    written = None if files is None else tuple(Written(int(a), int(b), str(c)) for a, b, c in files)
    return Marker(str(document["fingerprint"]), counts, float(document["seconds"]), written)


def note_file(root: Path, name: str) -> Path:
    """Return the path of what the values of an image depend on."""
    folder = marker_file(root, name, (0,)).parent
    return folder.parent / f"{folder.name}.pass.json"


def write_note(root: Path, name: str, identity: Mapping[str, Any]) -> None:
    """Keep what the values of an image depend on, ``planes`` apart, which each plane along t depends on alone."""
    file = note_file(root, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_changed(file, seal.dumps(identity, place_of(file)))


def read_note(root: Path, name: str) -> dict[str, Any]:
    """Return what `write_note` kept.

    Raises
    ------
    OSError, ValueError
        There is none, or it is damaged.
    """
    file = note_file(root, name)
    return seal.loads(read_bytes(file), place_of(file))


def expected_fingerprint(note: Mapping[str, Any], shard: Sequence[int]) -> str:
    """Return the fingerprint that the marker of a shard has, from what the image's values depend on."""
    identity = {key: value for key, value in note.items() if key != "planes"}
    planes = note.get("planes") or ()
    return provenance.fingerprint([identity, planes[shard[0]] if planes else None])


def is_of_image(root: Path, name: str, shard: Sequence[int], marker: Marker) -> bool:
    """Tell whether a marker vouches for the image that it lies with; so it does where nothing is noted of that."""
    file = note_file(root, name)
    try:
        status = file.stat()
        times = status.st_ino, status.st_mtime_ns, status.st_ctime_ns
        return marker.fingerprint == _noted(str(file), place_of(file), shard[0], status.st_size, *times)
    except (OSError, ValueError, TypeError, KeyError):
        return True  # told as damage of the note
    except IndexError:
        return False


@functools.lru_cache(maxsize=4096)
def _noted(file: str, place: str, first: int, *_status: int) -> str:
    """Return the fingerprint that follows from a note for shards of one plane along the first axis."""
    return expected_fingerprint(seal.loads(read_bytes(Path(file)), place), (first,))


def shard_files(root: Path, image: Image, shard: Sequence[int]) -> list[Path]:
    """Return the files of one shard, one for each level that it covers."""
    files = []
    for level in range(image.levels):
        sizes, shape = image.shard_shape(level), image.level_shape(level)
        if not all(k * s < n for k, s, n in zip(shard, sizes, shape, strict=True)):
            break
        files.append(root.joinpath(image.path, str(level), "c", *map(str, shard)))
    return files


def written(file: Path) -> Written:
    """Return size, time and digest of a file."""
    before = file.stat()
    return Written(before.st_size, before.st_mtime_ns, digest_of(file))


def digest_of(file: Path) -> str:
    """Return the digest of a file's bytes, read block by block."""
    require_regular(file)
    total = seal.hasher()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            total.update(block)
    return total.hexdigest()


def problem_of(file: Path, expected: Written, full: bool = False) -> str | None:
    """Say what is wrong with a file of a shard, None where nothing is.

    Parameters
    ----------
    file : Path
    expected : Written
        From the marker.
    full : bool
        Read it even where size and time are those of the marker.
    """
    try:
        status = file.stat()
    except OSError:
        return "is missing"
    if status.st_size != expected.size:
        return f"has {status.st_size} bytes instead of {expected.size}"
    if not full and status.st_mtime_ns == expected.mtime_ns:
        return None
    try:
        same = _digest_at(str(file), status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if same == expected.digest else "is not what was written there: its checksum is another"


@functools.lru_cache(maxsize=4096)
def _digest_at(file: str, *_status: int) -> str:
    """Return the digest of a file, once for each change of it."""
    return digest_of(Path(file))
