"""Whose a folder is: the mark of a store, what may be deleted in it, and the scans that it knows."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xct_pipeline.inputs import read_bytes
from xct_pipeline.store import seal
from xct_pipeline.store.files import RefusedError, StoreError, write_changed
from xct_pipeline.store.layout import STATE

MAKER = "xct-pipeline"
FORMAT = 2
MARK = f"{STATE}/store.json"
OURS = {
    *("store.json", "lock", "lock.json", "markers", "estimates", "parcels"),
    *("files.json", "inputs.json", "steps.json", "plan.json", "leases"),
}
FOLDERS = (
    *(STATE, f"{STATE}/markers", f"{STATE}/estimates", f"{STATE}/leases"),
    *("tables", "OME", "scans", "registered", "variation"),
)
FILES = (f"{STATE}/lock", "run.log")  # that are opened where they lie; all others are replaced
OUTSIDE = {
    "zarr.json",
    "scans",
    "registered",
    "variation",
    "tables",
    "report.html",
    "run.log",
    "ro-crate-metadata.json",
    "OME",
}
# of this version, of those before, and of zarr while it writes a shard
TEMPORARY = re.compile(
    r"\..+\.partial|\.[^/]+\.(json|npz|csv|html|pickle)\.[a-z0-9_]{6,8}|(\d+|zarr)(\.[0-9a-f]{32})?\.partial"
)


def is_temporary(name: str) -> bool:
    """Tell whether a file is what a killed write left."""
    return TEMPORARY.fullmatch(name) is not None


def read_mark(root: Path) -> dict[str, Any] | None:
    """Return the mark of a store, None where it has none.

    Raises
    ------
    StoreError
        It is damaged.
    """
    file = root / MARK
    try:
        data = read_bytes(file)
        mark = seal.loads(data, MARK)
        if f'"{seal.KEY}"'.encode() not in data:  # there never were marks without one
            raise ValueError("it has no checksum")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{file}: damaged ({error}); {_cure(root)}") from error
    if mark.get("made_by") != MAKER or not isinstance(mark.get("scans"), dict):
        raise StoreError(f"{file}: not the mark of a store; {_cure(root)}")
    return mark


def _cure(root: Path) -> str:
    return f"xct verify {root} --repair, then xct run"


def write_mark(root: Path, scans: Mapping[str, list[str]]) -> None:
    """Mark a folder as a store that knows these scans and their main raw files."""
    (root / STATE).mkdir(parents=True, exist_ok=True)
    write_changed(root / MARK, seal.dumps({"made_by": MAKER, "format": FORMAT, "scans": dict(scans)}, MARK))


def is_ours(root: Path) -> bool:
    """Tell whether a folder bears our mark, or is a store that an earlier version of this program wrote or began."""
    state = root / STATE
    if not state.is_dir() or state.is_symlink():
        return False
    try:
        if read_mark(root) is not None:
            return True
    except StoreError:
        damaged = True
    else:
        damaged = False
    if not _only_ours(state):
        return False
    others = {entry.name for entry in root.iterdir()} - {STATE}
    if damaged or (state / "lock").exists():
        others = {name for name in others if not (is_temporary(name) if damaged else _torn(name))}
    if others <= {"run.log"} or _noted(state) or _root_scans(root) is not None:
        return True
    return damaged and others <= OUTSIDE and (root / "zarr.json").exists() and not _foreign_root(root)


def _torn(name: str) -> bool:
    """Tell whether a file is what a killed write left of one that lies beside the state of a store."""
    return is_temporary(name) and any(name.startswith(f".{whole}.") for whole in OUTSIDE)


def _noted(state: Path) -> bool:
    """Tell whether there is a note of what an image was made of."""
    return any((state / "markers").rglob("*.pass.json"))


def _foreign_root(root: Path) -> bool:
    """Tell whether the root's metadata can be read but were not written by us; of damaged ones that is not known."""
    try:
        data = read_bytes(root / "zarr.json")
        return isinstance(json.loads(data), dict) and f'"{seal.KEY}"'.encode() not in data
    except (OSError, ValueError, RecursionError):
        return False


def _only_ours(state: Path) -> bool:
    return all(entry.name in OURS or is_temporary(entry.name) for entry in state.iterdir())


def _root_scans(root: Path) -> dict[str, list[str]] | None:
    """Return the scans that the root's attributes list, None where they are not there or not ours."""
    try:
        document = json.loads(read_bytes(root / "zarr.json"))
        scans = document["attributes"]["xct"]["scans"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(scans, dict) or not all(_are_files(files) for files in scans.values()):
        return None
    return scans


def _are_files(files: Any) -> bool:
    return isinstance(files, list) and all(isinstance(file, str) for file in files)


def require_place(root: Path) -> None:
    """Refuse a place that cannot become a store: a file, below a file, a link to nothing, inside another store.

    Raises
    ------
    RefusedError
        It names what is in the way.
    """
    if os.path.islink(root) and not os.path.exists(root):
        raise RefusedError(f"{root} is a link that leads nowhere; choose another output or remove it")
    if root.exists() and not root.is_dir():
        raise RefusedError(f"{root} is a file; choose another output")
    for folder in Path(os.path.realpath(root)).parents:
        if folder.exists() and not folder.is_dir():
            raise RefusedError(f"{root} would lie below the file {folder}; choose another output")
        if is_ours(folder):
            raise RefusedError(f"{root} lies inside the store {folder}; choose another output")


def mend_mark(root: Path) -> None:
    """Write the mark of a store anew, with the scans that its root lists; none where that is damaged as well."""
    write_mark(root, _root_scans(root) or {})


def known_scans(root: Path) -> dict[str, list[str]]:
    """Return every scan that a store has taken in, and its main raw files; from the root where the mark is damaged.

    Raises
    ------
    StoreError
        Neither can be read.
    """
    try:
        mark = read_mark(root)
    except StoreError:
        found = _root_scans(root)
        if found is None:
            raise
        return found
    if mark is None:
        return _root_scans(root) or {}
    return {str(name): [str(file) for file in files] for name, files in mark["scans"].items()}


def inside(root: Path, path: str | Path) -> Path:
    """Return a path of a store.

    Raises
    ------
    RefusedError
        It leads out of the store, by its name or by a link.
    """
    target = root / path
    whole, end = root.resolve(), target.resolve()
    if end == whole or whole not in end.parents:
        raise RefusedError(f"{target} leads out of the store {root}; nothing there is touched")
    return target


def require_unlinked(root: Path) -> None:
    """Refuse a store of which a folder leads elsewhere, or whose log or lock is no file: writing would harm others.

    Raises
    ------
    RefusedError
        It names the first.
    """
    for folder in FOLDERS:
        inside(root, folder)
    for name in FILES:
        file = inside(root, name)
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise RefusedError(f"{file} is not a file; remove it yourself, then the same command goes on")


def remove(root: Path, path: str | Path) -> None:
    """Delete a file or folder of a store; what is not there is no error.

    Raises
    ------
    RefusedError
        It does not lie inside the store, or the folder is no store of ours.
    """
    target = root / path
    if not target.is_symlink():
        target = inside(root, path)
    elif target.is_dir():
        raise RefusedError(f"{target} is a link; remove it yourself, then the same command goes on")
    elif target.parent != root:  # the link itself goes, not what it leads to
        inside(root, target.parent)
    if not is_ours(root):
        raise RefusedError(f"{root} is not a store of xct; nothing in it is deleted")
    if target.is_dir():  # which no link is
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def leftovers(root: Path) -> list[Path]:
    """Return what killed writes left in a store, relative to it."""
    found = []
    for folder, _, names in os.walk(root):
        found += [(Path(folder) / name).relative_to(root) for name in names if is_temporary(name)]
    parcels = root / STATE / "parcels"
    return sorted(found) + ([parcels.relative_to(root)] if parcels.is_dir() else [])
