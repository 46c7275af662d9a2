"""Scans and references in folders of images, of any naming: by words in the names of files and folders."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from natsort import natsorted

from xct_pipeline.acquisition.formats import Kind
from xct_pipeline.acquisition.images import image_frames, moment_of
from xct_pipeline.acquisition.layout.found import Folder, Found, Reference, kinds_in, number_of, says
from xct_pipeline.acquisition.layout.hdf5_scans import FEWEST
from xct_pipeline.scan import ScanError

_WORDS = Mapping[str, Sequence[str]]
_PLAIN = ("proj*", "tomo", "image*", "img*", "raw*", "tif*", "edf", "sample", "scan", "data", "frames", "radio*")


class Group(NamedTuple):
    """Images of one folder that are numbered alike, and the pattern that matches just them."""

    files: tuple[Path, ...]
    pattern: str | tuple[str, ...]
    prefix: str


def groups_of(files: Sequence[Path]) -> list[Group]:
    """Sort images into series: of one folder and one naming, split by a number that few of them share."""
    shapes: dict[tuple[Path, str, str], list[Path]] = defaultdict(list)
    for path in natsorted(files, key=str):
        shapes[path.parent, re.sub(r"\d+", "#", path.stem), path.suffix.lower()].append(path)
    found: list[Group] = []
    for members in shapes.values():
        table = [re.findall(r"\d+", path.stem) for path in members]
        distinct = [len(set(column)) for column in zip(*table, strict=True)]
        frame = max(range(len(distinct)), key=lambda k: (distinct[k], k), default=-1)
        keys = [k for k, count in enumerate(distinct) if k != frame and 1 < count <= len(members) / FEWEST]
        split: dict[tuple[str, ...], list[Path]] = defaultdict(list)
        for path, numbers in zip(members, table, strict=True):
            split[tuple(numbers[k] for k in keys)].append(path)
        for fixed, paths in split.items():
            found.append(Group(tuple(paths), _pattern(paths), _prefix(paths[0], dict(zip(keys, fixed, strict=True)))))
    return found


def _pattern(paths: Sequence[Path]) -> str | tuple[str, ...]:
    """Return a pattern that matches these files of their folder and no other; the names themselves where none does."""
    if len(paths) == 1:
        return (paths[0].name,)
    parts = [re.split(r"(\d+)", path.stem) for path in paths]
    text = ""
    for column in zip(*parts, strict=True):
        text += glob.escape(column[0]) if len(set(column)) == 1 else "[0-9]*"
    text += paths[0].suffix
    there = set(map(Path, glob.glob(str(Path(glob.escape(str(paths[0].parent))) / text))))
    return text if there == set(paths) else tuple(path.name for path in paths)


def _prefix(path: Path, fixed: Mapping[int, str]) -> str:
    """Return what all names of a series begin with."""
    count = -1

    def shown(_: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return fixed.get(count, "#")

    return re.sub(r"\d+", shown, path.stem).split("#")[0].rstrip("_-. ")


def image_scans(files: Sequence[Path], folder: Folder, words: _WORDS) -> None:
    """Add the scans and references that series of images are, with what is not used and why."""
    series: list[Group] = []
    for group in groups_of(files):
        first = group.files[0]
        names = [first.stem, *_below(first.parent, folder.root)]
        kinds = next((found for name in names if (found := kinds_in(name, words))), frozenset())
        own = kinds_in(first.stem, words)
        if not own and any(says(name, words["ignored"]) for name in names):
            folder.unused.append((first.parent, f"{len(group.files)} images, results by their name"))
            continue
        if not kinds:
            series.append(group)
            continue
        try:
            shape = image_frames(group.files).shape
        except ScanError as error:
            folder.unused.append((first, str(error)))
            continue
        kind: Kind = "dark" if "dark" in kinds else "flat"
        after = any(says(name, words["after"]) for name in names[:2])
        item = Reference(kind, first, "", shape[0], shape[1:], images=True, after=after)
        item.source = group.pattern if isinstance(group.pattern, str) else ";".join(group.pattern)
        item.number = number_of(first, folder.root, words) if _run_number(group, folder.root) else None
        folder.references.append(item)
    for group in series:
        _scan(group, series, folder)


def _below(path: Path, root: Path) -> list[str]:
    """Return the names of the folders down from the root, nearest first."""
    return list(path.relative_to(root).parts)[::-1] if root in path.parents else []


def _run_number(group: Group, root: Path) -> bool:
    return bool(re.search(r"\d", group.prefix + "".join(_below(group.files[0].parent, root))))


def _scan(group: Group, series: Sequence[Group], folder: Folder) -> None:
    first = group.files[0]
    try:
        shape = image_frames(group.files).shape
    except ScanError as error:
        folder.unused.append((first, str(error)))
        return
    if shape[0] < FEWEST:
        folder.unused.append((first, f"{shape[0]} images, too few for a scan, and no name that says flats or darks"))
        return
    names = [name for name in _below(first.parent, folder.root) if not says(name, _PLAIN) or re.search(r"\d", name)]
    name = names[0] if names else (group.prefix or first.stem)
    if sum(other.files[0].parent == first.parent for other in series) > 1 and group.prefix:
        name = group.prefix if not names else f"{names[0]}_{group.prefix}"
    if not names and says(group.prefix, _PLAIN) and not re.search(r"\d", group.prefix):
        name = folder.root.name
    pattern = group.pattern if isinstance(group.pattern, str) else list(group.pattern)
    item = Found(first, name, {"projections": pattern}, "images in folders", images=True, files=group.files)
    item.projections, item.shape = shape[0], shape[1:]
    moment, said = moment_of(first)
    if "DateTime" in said:
        item.keys["times"], item.start = "file", moment
    digits = re.findall(r"\d+", name)
    item.number = int(digits[-1]) if digits else None
    folder.scans.append(item)
