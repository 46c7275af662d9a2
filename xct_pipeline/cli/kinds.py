"""What a path given to a command is, and what to type instead where the command takes something else."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

from xct_pipeline.inputs import IMAGE_SUFFIXES
from xct_pipeline.store.files import store_root
from xct_pipeline.store.layout import STATE

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PAGES = (b"<!doctype html", b"<html")
_VOLUMES = (".npy", ".vol", ".raw")
_HEAD = 4096
_MOST = 2**22  # bytes of a configuration

_CALLED = {
    "scan": "a raw scan",
    "tiff": "a TIFF or EDF image",
    "tiffs": "a folder of TIFF or EDF images",
    "store": "a store",
    "part": "a part of the store {root}",
    "folder": "a folder",
    "toml": "a configuration",
    "page": "a web page",
    "text": "a table or another text",
    "empty": "an empty file",
    "volume": "a file of numbers, as volumes are",
    "other": "a file of no known kind",
}
_TYPED = {
    "scan": "xct init {path} -o run.toml writes a configuration, then xct run run.toml; xct info {path} shows it",
    "tiff": "xct init {folder} looks for scans in its folder, with their angles",
    "tiffs": "xct init {path} looks for scans in it, with their angles, and writes a configuration",
    "store": "xct info {path} tells what is in it, xct view {path} shows it",
    "part": "xct info {root} tells what is in the store, xct view {root} shows it",
    "folder": "xct init {path} looks for scans in it and writes a configuration",
    "toml": "xct check {path} reads it, xct run {path} runs it",
    "page": "open it in a browser",
    "text": "xct echem {path} reads a log of a cycler or a spectrum; a configuration names it under [electrochemistry]",
    "empty": "nothing can be read from it",
    "volume": "name it under [[acquisition.volume]] of a configuration, xct example from_volumes prints one",
    "other": "raw scans are HDF5, or TIFF or EDF images in a folder; xct example lists configurations to begin with",
}


def kind_of(path: Path) -> str:
    """Return what a path is, from its first bytes: a key of the words above, missing, or device (what is no file)."""
    if path.is_dir():
        return _kind_of_folder(path)
    start = _start_of(path)
    if start is None:
        return "missing" if not path.exists() else "device"
    if any(start[at : at + 8] == _HDF5 for at in (0, 512, 1024, 2048)):  # a file may begin with a block of its user
        return "scan"
    if start.startswith(_TIFF) or path.suffix.lower() == ".edf":
        return "tiff"
    if path.suffix.lower() == ".toml":
        return "toml"
    if start.lstrip().lower().startswith(_PAGES):
        return "page"
    if _root(path) is not None:
        return "part"
    if not start:
        return "empty"
    if path.suffix.lower() in _VOLUMES:
        return "volume"
    return "other" if _is_binary(start) else "text"


def _start_of(path: Path) -> bytes | None:
    """Return the first bytes of a file; None of what cannot be read again and again, such as a pipe, or not at all."""
    if not path.is_file():
        return None
    with path.open("rb") as stream, contextlib.suppress(OSError):
        return stream.read(_HEAD)
    return None


def _kind_of_folder(path: Path) -> str:
    if (path / STATE).is_dir():
        return "store"
    if _root(path) is not None:
        return "part"
    images = any(child.suffix.lower() in IMAGE_SUFFIXES for child in path.iterdir())
    return "tiffs" if images else "folder"


def _root(path: Path) -> Path | None:
    """Return the store that a path lies in, as the path names it where it does."""
    return store_root(path.parent) or store_root(path.absolute().parent)


def _is_binary(start: bytes) -> bool:
    """Tell whether bytes hold what no text does; one of two bytes a letter begins with a mark."""
    return not start.startswith((b"\xff\xfe", b"\xfe\xff")) and any(byte < 9 or 13 < byte < 32 for byte in start)


def _refuse(path: Path, kind: str, wanted: str) -> None:
    """Say what a path is, what was wanted, and what to type.

    Raises
    ------
    ValueError
        Always.
    """
    words = {"path": path, "folder": path.parent, "root": _root(path)}
    raise ValueError(f"{path} is {_CALLED[kind].format(**words)}, not a {wanted}: {_TYPED[kind].format(**words)}")


def require_config(path: Path) -> None:
    """Refuse what is clearly no configuration, and say what to type.

    Raises
    ------
    ValueError
        Nothing is there, or no TOML.
    """
    kind = kind_of(path)
    if kind == "missing":
        name = path if path.suffix.lower() == ".toml" else "run.toml"
        raise ValueError(f"{path}: no such file; xct init SCAN ... -o {name} writes a configuration for raw scans")
    inside = sorted(path.glob("*.toml")) if kind in ("folder", "tiffs") else ()
    if inside:
        raise ValueError(f"{path} is a folder, not a configuration: name the one in it, {inside[0]}")
    if kind not in ("toml", "device") and not (kind in ("text", "part") and _is_toml(path)):
        _refuse(path, kind, "configuration")


def _is_toml(path: Path) -> bool:
    """Tell whether a text of another name is TOML; what is larger than any configuration is not looked at."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return path.stat().st_size < _MOST and bool(tomllib.loads(path.read_text("utf-8")))
    return False


def require_scan(path: Path, wanted: str = "raw scan") -> None:
    """Refuse what is clearly no raw scan, and say what to type.

    Raises
    ------
    ValueError
        Anything that is there but no HDF5.
    """
    kind = kind_of(path)
    if kind not in ("scan", "missing", "device"):
        _refuse(path, kind, wanted)


def require_store(path: Path, wanted: str = "store") -> None:
    """Refuse what is clearly no store, and say what to type.

    Raises
    ------
    ValueError
        A file, a part of a store, or a folder without metadata of zarr.
    """
    kind = kind_of(path)
    if kind in ("store", "missing", "device") or (kind == "folder" and (path / "zarr.json").is_file()):
        return
    inside = sorted(child for child in path.iterdir() if (child / STATE).is_dir()) if kind == "folder" else ()
    if inside:
        raise ValueError(f"{path} is a folder, not a {wanted}: name the one in it, {inside[0]}")
    _refuse(path, kind, wanted)


def require_shown(path: Path) -> None:
    """Refuse what no window shows, and say what to type.

    Raises
    ------
    ValueError
        Neither a store nor an image, a raw scan or a configuration.
    """
    kind = kind_of(path)
    if kind == "missing" and "::" not in path.name:  # which names an entry of a file
        raise ValueError(f"{path}: no such file or folder")
    if kind in ("tiffs", "page", "text", "empty", "volume", "other") or (kind == "part" and path.is_file()):
        _refuse(path, kind, "store, an OME-Zarr image, a raw scan (HDF5) or a configuration (run.toml)")
