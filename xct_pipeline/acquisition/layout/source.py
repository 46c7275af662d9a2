"""Names of datasets, ``file::dataset[range]``: taken apart, found from the scan's file on, and read."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from natsort import natsorted

from xct_pipeline.acquisition.hdf5 import (
    attribute,
    child,
    missing_links,
    numbers,
    one_line,
    open_hdf5,
    reading,
    resolve,
    text_of,
)
from xct_pipeline.acquisition.storage import require_complete
from xct_pipeline.inputs import matching
from xct_pipeline.scan import ScanError

_PART = r"-?\d+(?::(?:-?\d+)?){0,2}|:(?:-?\d+)?(?::-?\d+)?"
_RANGE = re.compile(rf"^(.*)\[\s*((?:{_PART})(?:\s*,\s*(?:{_PART}))*)\s*\]$", re.DOTALL)
MOST_NODES = 20_000  # of a file that are looked through


@dataclass(frozen=True)
class Source:
    """What a name stands for.

    Attributes
    ----------
    text : str
        As written.
    file : str or None
        Relative to the scan's file, wildcards allowed; None is the scan's file itself.
    dataset : str
        Path in the file, wildcards allowed.
    attribute : str or None
        Of that dataset or group, behind an ``@``.
    ranges : tuple of slice
        Along the first axis, one after the other; empty for all.
    """

    text: str
    file: str | None
    dataset: str
    attribute: str | None
    ranges: tuple[slice, ...]

    def index(self, n: int, where: str) -> npt.NDArray[np.int64]:
        """Return the numbers that the ranges choose of `n`.

        Raises
        ------
        ScanError
            They reach outside.
        """
        if not self.ranges:
            return np.arange(n)
        for part in self.ranges:
            for bound in (part.start, part.stop):
                if bound is not None and not -n <= bound <= n:
                    raise ScanError(f"{where}: [{_shown(self.ranges)}] reaches outside, there are {n}")
        chosen = np.concatenate([np.arange(n)[part] for part in self.ranges])
        if not len(chosen):
            raise ScanError(f"{where}: [{_shown(self.ranges)}] chooses none of {n}")
        return chosen


def _shown(ranges: tuple[slice, ...]) -> str:
    def bound(value: Any) -> str:
        return "" if value is None else str(value)

    texts = [f"{bound(r.start)}:{bound(r.stop)}" + (f":{r.step}" if r.step not in (None, 1) else "") for r in ranges]
    return ", ".join(texts)


def parse(text: str) -> Source:
    """Take ``dataset``, ``file::dataset[range]`` or ``file::group@attribute`` apart."""
    location, mark, inner = text.partition("::")
    file, name = (location, inner) if mark else (None, text)
    ranges: tuple[slice, ...] = ()
    found = _RANGE.match(name)
    if found:
        name = found[1]
        ranges = tuple(_slice(part.strip()) for part in found[2].split(","))
    name, _, attr = name.partition("@")
    if not name.strip("/ ") and not attr:
        raise ScanError(f"{one_line(text)!r} names no dataset: write dataset, or file::dataset")
    return Source(text, file or None, name.strip("/ "), attr or None, ranges)


def _slice(text: str) -> slice:
    parts = [int(part) if part else None for part in text.split(":")]
    if len(parts) == 1:
        first = parts[0]
        assert first is not None
        return slice(first, first + 1 if first != -1 else None)
    return slice(*parts)


def file_of(source: Source, home: Path) -> Path:
    """Return the file of a source: `home` itself, or the one file that its name matches from there on.

    Raises
    ------
    ScanError
        No file, or several.
    """
    if source.file is None:
        return home
    path = home.parent / source.file
    if path.exists() or not glob.has_magic(source.file):
        return path
    below = os.path.join(glob.escape(str(home.parent)), source.file)
    found = natsorted({os.path.normpath(name) for name in matching(below)})
    if len(found) != 1:
        what = f"{len(found)} files match, {', '.join(found[:3])}: name one" if found else "no file matches"
        raise ScanError(one_line(f"{path}: {what}"))
    return Path(found[0])


def addresses(file: h5py.File, pattern: str) -> list[str]:
    """Return the datasets and groups that a path with wildcards matches, naturally sorted; links are followed."""
    if not glob.has_magic(pattern):
        return [f"/{pattern}"] if not pattern or resolve(file, pattern) is not None else []
    found = [("", file)]
    for part in pattern.split("/"):
        inner: list[tuple[str, Any]] = []
        for path, node in found:
            if not isinstance(node, h5py.Group):
                continue
            names = [part] if not glob.has_magic(part) else fnmatch.filter(list(node), part)
            inner += [(f"{path}/{name}", below) for name in names if (below := child(node, name)) is not None]
            if len(inner) > MOST_NODES:
                raise ScanError(f"{file.filename}: {pattern} matches more than {MOST_NODES} names")
        found = inner
    return list(natsorted(path for path, _ in found))


@dataclass(frozen=True)
class Values:
    """Numbers or texts of a dataset: flat, with their unit, where they were found, and the files that hold them."""

    array: npt.NDArray[Any]
    unit: str
    where: str
    name: str
    files: frozenset[Path]

    @property
    def is_text(self) -> bool:
        """Tell whether these are texts."""
        return self.array.dtype.kind in "OSU"

    def texts(self) -> list[str]:
        """Return the values as texts."""
        return [text_of(value) for value in self.array.ravel()]

    def floats(self) -> npt.NDArray[np.float64]:
        """Return the values as numbers.

        Raises
        ------
        ScanError
            They are texts that are none.
        """
        if not self.is_text:
            return np.asarray(self.array, np.float64).ravel()
        try:
            return np.array([float(text) for text in self.texts()])
        except ValueError:
            raise ScanError(f"{self.where}: holds texts such as {self.texts()[0][:40]!r}, not numbers") from None


def read_values(source: Source, home: Path) -> Values:
    """Read a small dataset or an attribute.

    Raises
    ------
    ScanError
        It is absent, incomplete, too large, or there are several.
    """
    path = file_of(source, home)
    with open_hdf5(path) as file, reading(one_line(str(path))):
        address = the_address(file, source, path)
        node = file[address]
        where = one_line(f"{path}: {address}")
        if source.attribute is not None:
            if source.attribute not in node.attrs:
                raise ScanError(f"{where} has no attribute {source.attribute}")
            value = np.atleast_1d(np.asarray(node.attrs[source.attribute]))
            return Values(value, "", f"{where}@{source.attribute}", source.attribute, frozenset({path}))
        if not isinstance(node, h5py.Dataset):
            raise ScanError(f"{where}: a group where values were expected")
        files = require_complete(node).files | {path}
        array = numbers(node, where) if node.dtype.kind in "uifb" else _texts(node, where)
        array = array[source.index(len(array), where)]
        return Values(array, attribute(node, "units") or attribute(node, "unit"), where, address, files)


def _texts(node: h5py.Dataset, where: str) -> npt.NDArray[Any]:
    if node.dtype.kind not in "OSU" or node.size is None or node.size > MOST_NODES * 500:
        raise ScanError(f"{where}: holds {node.dtype}, neither numbers nor texts")
    return np.atleast_1d(np.asarray(node[()], dtype=object)).ravel()


def the_address(file: h5py.File, source: Source, path: Path) -> str:
    """Return the one dataset or group that a source names.

    Raises
    ------
    ScanError
        None (with what is there instead), or several.
    """
    found = addresses(file, source.dataset)
    if len(found) == 1:
        return found[0]
    if found:
        raise ScanError(
            one_line(f"{path}: {source.dataset} matches {len(found)} datasets, {', '.join(found[:3])}: name one")
        )
    raise ScanError(one_line(f"{path}: /{source.dataset}: no such dataset{near_names(file, source.dataset)}"))


def near_names(file: h5py.File, wanted: str) -> str:
    """Return, for a message, the datasets of a file that are called alike; those there are where none is."""
    import difflib

    names = [address for address, _ in datasets(file)]
    leaf = wanted.rsplit("/", 1)[-1]
    near = [name for name in names if name.rsplit("/", 1)[-1] == leaf]
    near = near or difflib.get_close_matches(f"/{wanted}", names, n=2, cutoff=0.6)
    missing = missing_links(file)
    lost = f" (links to missing files: {', '.join(list(missing)[:2])})" if missing else ""
    if near:
        return f"; did you mean {near[0]}?{lost}"
    shown = f"; it holds {', '.join(names[:6])}{' ...' * (len(names) > 6)}" if names else "; it holds no dataset"
    return shown + lost


def datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield every dataset with its path; links are followed, those that lead nowhere or in a circle left out."""
    seen: set[tuple[str, int]] = set()
    open_groups: list[tuple[str, Any, int]] = [("", file, 0)]
    count = 0
    while open_groups:
        path, group, depth = open_groups.pop(0)
        for name in group if has_names(group) else ():
            count += 1
            if count > MOST_NODES:
                return
            node = child(group, name)
            if isinstance(node, h5py.Dataset):
                yield f"{path}/{name}", node
            elif isinstance(node, h5py.Group) and depth < 12:
                info = (str(node.file.filename), int(h5py.h5o.get_info(node.id).addr))
                if info not in seen:
                    seen.add(info)
                    open_groups.append((f"{path}/{name}", node, depth + 1))


def has_names(group: Any) -> bool:
    """Tell whether a node has others in it."""
    return isinstance(group, h5py.Group) and len(group) > 0


def is_there(source: Source, home: Path) -> bool:
    """Tell whether a source leads to something, links to missing files excluded."""
    try:
        path = file_of(source, home)
        with open_hdf5(path) as file, reading(str(path)):
            found = addresses(file, source.dataset)
            if source.attribute is None:
                return bool(found)
            return any(source.attribute in file[address].attrs for address in found)
    except ScanError:
        return False


def read_with_unit(text: str, home: Path) -> tuple[Values, str]:
    """Read a dataset, whose unit may stand behind it where the file states none: ``dataset mm``."""
    name, _, unit = text.strip().rpartition(" ")
    if name and not is_there(parse(text), home):
        return read_values(parse(name), home), unit
    return read_values(parse(text), home), ""
