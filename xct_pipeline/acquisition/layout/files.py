"""The files of a description: ``{scan}`` in a name stands for what differs from scan to scan."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from natsort import natsorted

from xct_pipeline.acquisition.hdf5 import one_line
from xct_pipeline.inputs import matching
from xct_pipeline.scan import ScanError

MARK = "{scan}"


class ScanFile(NamedTuple):
    """One file that a description applies to, the name of its scan, and the description with that name filled in."""

    home: Path
    name: str
    keys: dict[str, Any]


def scan_files(keys: Mapping[str, Any], folder: Path) -> list[ScanFile]:
    """Return the files of a table, each pattern's in natural order.

    Parameters
    ----------
    keys : mapping
        With ``file``, or with ``data`` that names a file.
    folder : Path
        What relative names start from.

    Raises
    ------
    ScanError
        No file matches, or one name is given to several.
    """
    keys = {key: value for key, value in keys.items() if value is not None}
    if "file" not in keys:
        file, _, dataset = keys["data"].partition("::")
        keys = {**keys, "file": file, "data": dataset}
    patterns = [keys["file"]] if isinstance(keys["file"], str) else keys["file"]
    found: list[ScanFile] = []
    for pattern in patterns:
        for home, value in _matching(pattern, folder):
            name = keys.get("name") or value or home.stem
            if keys.get("name") and (value or len(patterns) > 1):
                name = f"{keys['name']}_{value or home.stem}"
            found.append(ScanFile(home, name, _filled(keys, value or home.stem)))
    if keys.get("name") and len(found) > 1 and len({item.name for item in found}) < len(found):
        raise ScanError(one_line(f"scan {keys['name']}: {len(found)} files match {keys['file']}: leave name out"))
    return found


def _matching(pattern: str, folder: Path) -> list[tuple[Path, str]]:
    """Return the files of a pattern and what ``{scan}`` is in each."""
    path = folder / Path(pattern).expanduser()
    if MARK not in pattern:
        if path.exists() or not glob.has_magic(pattern):
            return [(Path(os.path.normpath(path)), "")]
        below = os.path.join(glob.escape(str(folder)), str(Path(pattern).expanduser()))
        found = natsorted(map(os.path.normpath, matching(below)))
        if not found:
            raise ScanError(one_line(f"{path}: no file matches this pattern"))
        return [(Path(name), "") for name in found]
    below = os.path.join(glob.escape(str(folder)), pattern.replace(MARK, "*"))
    wanted = _expression(pattern)
    matches: dict[str, Path] = {}
    for name in natsorted(matching(below)):
        hit = wanted.fullmatch(os.path.relpath(name, folder).replace(os.sep, "/"))
        if hit is None:
            continue
        if hit["scan"] in matches:
            raise ScanError(one_line(f"{path}: matches {matches[hit['scan']]} and {name}: both are {hit['scan']}"))
        matches[hit["scan"]] = Path(os.path.normpath(name))
    if not matches:
        raise ScanError(one_line(f"{path}: no file matches this pattern"))
    return [(home, value) for value, home in matches.items()]


def _expression(pattern: str) -> re.Pattern[str]:
    """Return what a path has to match: every ``{scan}`` the same text."""
    text, first = "", True
    for part in re.split(r"(\{scan\}|\*\*/|\*|\?|\[[^]]+\])", os.path.normpath(pattern)):
        if part == MARK:
            text, first = text + ("(?P<scan>[^/]+?)" if first else "(?P=scan)"), False
        else:
            wild = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
            text += wild.get(part, part if part.startswith("[") and part.endswith("]") else re.escape(part))
    return re.compile(text)


def _filled(keys: Mapping[str, Any], value: str) -> dict[str, Any]:
    """Put a scan's name into every text of a description but its file and name."""

    def fill(item: Any) -> Any:
        if isinstance(item, str):
            return item.replace(MARK, value)
        if isinstance(item, list | tuple):
            return [fill(each) for each in item]
        return {key: fill(each) for key, each in item.items()} if isinstance(item, dict) else item

    return {key: item if key in ("file", "name") else fill(item) for key, item in keys.items()}
