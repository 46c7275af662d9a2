"""Scans and references in one HDF5 file: by a recipe, by its own format, or by what its datasets look like."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xct_pipeline.acquisition.facts import moment
from xct_pipeline.acquisition.formats import Kind
from xct_pipeline.acquisition.hdf5 import identity, open_hdf5, reading, text_of
from xct_pipeline.acquisition.layout import times as clocks
from xct_pipeline.acquisition.layout.found import AngleList, Folder, Found, Reference, kinds_in, number_of, says
from xct_pipeline.acquisition.layout.recipes import Recipe
from xct_pipeline.acquisition.layout.source import addresses, datasets, file_of, is_there, parse, read_values
from xct_pipeline.acquisition.layout.stacks import length_of, mean_levels, open_stack
from xct_pipeline.acquisition.nxtomo import places
from xct_pipeline.acquisition.selection import runs
from xct_pipeline.scan import ScanError

_ANGLE = re.compile(r"rot|theta|omega|(^|_)phi|angle|(^|_)ang(_|$)", re.IGNORECASE)
_NO_ANGLE = re.compile(r"time|stamp|set$|speed|velocity|accel|error|status|unit", re.IGNORECASE)
_START = re.compile(r"^(start_?(time|date)|scan_?(time|date)|acquisition_?(time|date|start)|date|time_?start)$", re.I)
_SOURCES = ("angles", "angle_times", "key", "times", "start", "end", "energy", "pixel_size", "current", "current_times")
_WORDS = Mapping[str, Sequence[str]]
Stacks = dict[str, tuple[int, tuple[int, int]]]  # address: number of frames, their shape
FEWEST = 8  # projections of what is taken for a scan unasked
NARROWEST = 8  # columns of what is taken for a detector unasked


def by_recipe(path: Path, recipe: Recipe, folder: Folder, words: _WORDS) -> list[Found]:
    """Return the scans that a recipe finds in a file: one for each stack that its ``data`` matches."""
    scan = dict(recipe.scan)
    if scan.pop("native", None):
        return by_format(path, folder, words, recipe.name)
    keys: dict[str, Any] = {key: scan[key] for key in ("frames_per_angle", "angles_per_frame", "images") if key in scan}
    keys |= {key: scan[key] for key in ("pixel_size_um", "energy_keV") if key in scan}
    for key in (*_SOURCES, "flats", "flats_after", "darks", "darks_after"):
        value = _first(scan.get(key), path)
        if value is not None:
            keys[key] = value
    if keys.get("current_times") and "current" not in keys:
        del keys["current_times"]
    found = []
    for data, detector in _data(scan["data"], path):
        item = Found(path, path.stem, {"data": data, **keys}, recipe.name, detector=detector)
        item.number = number_of(path, folder.root, words)
        if isinstance(item.keys.get("angles"), Mapping):
            item.keys["angles"] = _evaluated(item.keys["angles"], path)
        _split_of(item, scan.get("split"))
        found.append(item)
    return found


def _first(value: Any, home: Path) -> Any:
    """Return the first of what a recipe names that is there, None for none; tables, words and numbers as they are."""
    for item in value if isinstance(value, list) else [value]:
        if item is None or not isinstance(item, str) or item == "file":
            return item
        if is_there(parse(item), home) or (" " in item and is_there(parse(item.rpartition(" ")[0]), home)):
            return item
    return None


def _data(given: Any, home: Path) -> list[tuple[str, str]]:
    """Return each stack that ``data`` matches, and what tells it from the others: the name of the detector."""
    for item in [given] if isinstance(given, str) else given:
        source = parse(item)
        path = file_of(source, home)
        with open_hdf5(path) as file, reading(str(path)):
            found = addresses(file, source.dataset)
            many = [address for address in found if _frames(file[address]) > 1 or _is_text(file[address])]
        if found and (not glob.has_magic(source.dataset) or len(many) != len(found)):
            return [(item, "")]
        if found:
            prefix = "" if source.file is None else f"{source.file}::"
            leaves = [address.rsplit("/", 1)[-1] for address in found]
            return [
                (prefix + address.strip("/"), leaf if len(found) > 1 else "")
                for address, leaf in zip(found, leaves, strict=True)
            ]
    return [(given if isinstance(given, str) else given[0], "")]


def _frames(node: Any) -> int:
    if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "uif" or len(node.shape or ()) < 3:
        return 0
    return int(np.prod(node.shape[:-2]))


def _is_text(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and node.dtype.kind in "OSU"


def _evaluated(table: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """Put numbers where a recipe names datasets or attributes."""
    numbers = {}
    for key, value in table.items():
        number = read_values(parse(value), home).floats()[0] if isinstance(value, str) else value
        numbers[key] = int(number) if key == "count" else float(number)
    return numbers


def _split_of(item: Found, given: Any) -> None:
    """Split as the recipe says; by a number that the file holds only where there are more projections."""
    if given is None:
        return
    if not isinstance(given, str) or given in ("rotation", "turn", "angles"):
        item.keys["split"] = given
    elif is_there(parse(given), item.home):
        count = int(read_values(parse(given), item.home).floats()[0])
        if count >= 3 and open_stack(parse(item.keys["data"]), item.home).frames.shape[0] > count:
            item.keys["split"] = count
            item.told.append(f"{given} says {count} projections a scan")


def by_format(path: Path, folder: Folder, words: _WORDS, recipe: str = "") -> list[Found]:
    """Return the scans that a file holds by its own format; a file of several entries or detectors has several."""
    from xct_pipeline.acquisition.formats import format_of

    entries: list[str | None] = [None]
    with open_hdf5(path) as file, reading(str(path)):
        choices = [place for place in places(file) if place.rank < 2]
        by_data: dict[tuple[str, int], str] = {}
        for place in choices:
            if place.rank == min(p.rank for p in choices):
                several = len({p.entry for p in choices}) == len(choices)
                node = file[place.detector].get("data")
                if isinstance(node, h5py.Dataset):
                    by_data.setdefault(identity(node), place.entry if several else place.detector)
        if len(by_data) > 1:
            entries = list(by_data.values())
    found = []
    for entry in entries:
        form = format_of(path, entry)
        scan = form.open(path, entry, pixel_size_um=None, energy_keV=None)
        if scan.shape[0] == 0:
            continue
        keys = {} if entry is None else {"entry": entry}
        detector = "" if entry is None else entry.strip("/").rsplit("/", 1)[-1]
        item = Found(path, path.stem, keys, recipe or form.name, native=True, detector=detector, files=scan.files)
        item.number = number_of(path, folder.root, words)
        found.append(item)
    return found


def references_by_recipe(
    path: Path, keys: Mapping[str, str], folder: Folder, words: _WORDS, recipe: str
) -> list[Reference]:
    """Return the flats and darks that a recipe finds in a file of references."""
    found = []
    for kind_s, source in keys.items():
        if kind_s == "mixed":
            found += mixed(path, source, folder, words)
        else:
            kind: Kind = "flat" if kind_s == "flats" else "dark"
            found.append(reference(path, source, kind, folder, words))
    return [replace(item, told=item.told or recipe) for item in found]


def reference(path: Path, source: str, kind: Kind, folder: Folder, words: _WORDS) -> Reference:
    """Return flats or darks that a dataset holds.

    Raises
    ------
    ScanError
        They cannot be opened.
    """
    opened = open_stack(parse(source), path)
    folder.consumed.update(file for file in opened.files if file != path)
    if opened.holder is not None and opened.holder[0].resolve() != path.resolve():
        folder.consumed.add(opened.holder[0])
    item = Reference(kind, path, f"::{source}", opened.frames.shape[0], opened.frames.shape[1:])
    item.after = says(path.stem, words["after"]) or says(source.rsplit("/", 1)[-1], words["after"])
    item.number = number_of(path, folder.root, words)
    values = clocks.beside(opened.holder, length_of(opened, opened.frames.shape[0]))
    if values is not None:
        item.start = clocks.stamps_of(values).at(int(opened.numbers[0]))
    return item


def mixed(path: Path, source: str, folder: Folder, words: _WORDS) -> list[Reference]:
    """Tell flats from darks in one stack by their level.

    Raises
    ------
    ScanError
        The levels do not make two groups that lie well apart.
    """
    with open_hdf5(path) as file, reading(str(path)):
        address = addresses(file, parse(source).dataset)[0]
    levels = mean_levels(path, address, path.stat().st_mtime_ns)
    order = np.sort(levels)
    gaps = np.diff(order)
    if len(gaps) == 0:
        raise ScanError(f"{path}: {address}: one frame, expected flats and darks")
    at = int(np.argmax(gaps))
    limit = (order[at] + order[at + 1]) / 2
    low, high = levels[levels < limit], levels[levels >= limit]
    apart = high.min() - low.max()
    if apart <= 3 * max(np.ptp(low), np.ptp(high)) or high.min() < 1.5 * max(low.max(), 1e-9):
        raise ScanError(
            f"{path}: {address}: flats and darks are in one stack, and their levels ({order[0]:.4g} to "
            f"{order[-1]:.4g}) do not lie apart: name them by ranges, dataset[first:stop]"
        )
    found = []
    kinds: tuple[Kind, ...] = ("dark", "flat")
    for kind, group, mean in zip(kinds, (levels < limit, levels >= limit), (low.mean(), high.mean()), strict=True):
        ranges = ",".join(f"{a}:{b + 1}" for a, b in runs(np.flatnonzero(group)))
        item = reference(path, f"{source}[{ranges}]", kind, folder, words)
        item.told = f"frames {ranges} of {address} taken as {kind}s, their level is {mean:.4g}"
        found.append(item)
    return found


def by_looks(path: Path, folder: Folder, words: _WORDS) -> tuple[list[Found], list[Reference], list[AngleList], str]:
    """Return what a file may hold by the shape and the names of its datasets, and why it is not used where nothing is.

    A stack is flats or darks where its own name, its group, its file or its folder says so, else projections. Angles
    are numbers, one for each frame or several, that are called so; or numbers that are not called so, but run over
    half a turn or more, where there is one such dataset.
    """
    with open_hdf5(path) as file, reading(str(path)):
        stacks, lists, start = _looked_at(file)
    if not stacks and not lists:
        return [], [], [], "no stack of frames"
    angles = [AngleList(path, f"::{name}", count) for name, count in lists.items() if _called_angle(name)]
    kinds = {name: _kind(name.strip("/").split("/")[::-1], words) for name in stacks}
    if not any(kinds.values()):  # no name inside tells, so that of the file or of its folder may
        around = [path.stem, *(path.parent.relative_to(folder.root).parts[::-1] if folder.root in path.parents else ())]
        kinds = {name: _kind(around, words) for name in stacks}
    references: list[Reference] = []
    for name, kind in kinds.items():
        if len(kind) == 2:
            references += mixed(path, name.strip("/"), folder, words)
        elif kind and not _is_mean(name, kind, kinds):
            references += [reference(path, name.strip("/"), one, folder, words) for one in kind]
    scans = []
    chosen = [name for name, kind in kinds.items() if not kind and stacks[name][0] >= FEWEST]
    for name in chosen:
        detector = _telling(name, chosen) if len(chosen) > 1 else ""
        item = Found(path, path.stem, {"data": name.strip("/")}, "by its looks", detector=detector)
        item.number = number_of(path, folder.root, words)
        item.told.append(f"{name} {stacks[name]} taken as projections")
        _keys_by_looks(item, stacks[name][0], lists, path)
        if start is not None:
            item.keys["start"] = start.strip("/")
        own = [r for r in references if r.shape == stacks[name][1]]
        for kind_s in ("flat", "dark"):
            for late in (False, True):
                of_kind = [r for r in own if r.kind == kind_s and r.after == late]
                if of_kind:
                    item.keys[f"{kind_s}s{'_after' * late}"] = [r.source.removeprefix("::") for r in of_kind]
                    item.told += [f"{r.source.removeprefix('::')} taken as {kind_s}s{' after' * late}" for r in of_kind]
        scans.append(item)
    fitting = [item for item in scans if "angles" in item.keys]
    if fitting and len(fitting) < len(scans):
        folder.unused += [(path, f"{i.keys['data']}: no angles fit it") for i in scans if i not in fitting]
        scans = fitting
    if scans:
        references = []
    why = (
        ""
        if scans or references or angles
        else f"{', '.join(stacks)} {next(iter(stacks.values()), '')}: too few frames"
    )
    return scans, references, [] if stacks else angles, why


def _looked_at(file: h5py.File) -> tuple[Stacks, dict[str, int], str | None]:
    """Return stacks, lists of numbers, and what says when the scan began."""
    stacks: Stacks = {}
    lists: dict[str, int] = {}
    singles: dict[str, list[tuple[str, tuple[int, int]]]] = {}
    start: str | None = None
    seen: set[tuple[str, int]] = set()
    for name, node in datasets(file):
        if identity(node) in seen or node.shape is None:
            continue
        seen.add(identity(node))
        shape = tuple(node.shape)
        if len(shape) > 3:  # axes of length one
            shape = (shape[0], *(size for size in shape[1:-2] if size > 1), *shape[-2:])
        numeric = node.dtype.kind in "uif"
        if numeric and len(shape) == 3 and min(shape) >= 1 and shape[1] > 1 and shape[2] >= NARROWEST:
            stacks[name] = (int(shape[0]), (int(shape[1]), int(shape[2])))
        elif numeric and len(shape) == 2 and shape[0] > 1 and shape[1] >= NARROWEST:
            pattern = re.sub(r"\d+", "[0-9]*", name.rsplit("/", 1)[-1])
            singles.setdefault(f"{name.rsplit('/', 1)[0]}/{pattern}", []).append((name, (int(shape[0]), int(shape[1]))))
        elif numeric and (len(shape) == 1 or (len(shape) == 2 and 1 in shape)) and node.size > 2:
            lists[name] = int(node.size)
        elif start is None and _START.match(name.rsplit("/", 1)[-1]) and node.size == 1 and _is_date(node):
            start = name
    for pattern, members in singles.items():
        if len({shape for _, shape in members}) == 1:
            key = pattern if len(members) > 1 else members[0][0]
            stacks[key] = (len(members), members[0][1])
    return stacks, lists, start


def _is_date(node: h5py.Dataset) -> bool:
    try:
        if node.dtype.kind in "OSU":
            return moment(text_of(node)) is not None
        return 1e9 < float(np.asarray(node[()]).ravel()[0]) < 4e9
    except Exception:
        return False


def _called_angle(name: str) -> bool:
    leaf = name.rsplit("/", 1)[-1]
    near = name.rsplit("/", 2)[-2] if leaf in ("value", "data", "position") and name.count("/") > 1 else leaf
    return bool(_ANGLE.search(near)) and not _NO_ANGLE.search(near)


def _kind(names: Sequence[str], words: _WORDS) -> frozenset[Kind]:
    """Return of which kind a stack is by the nearest name that tells it; empty for projections."""
    for name in names:
        found = kinds_in(name, words)
        if found or says(name, ("proj*", "tomo", "sample")):
            return found
    return frozenset()


def _is_mean(name: str, kind: frozenset[Kind], kinds: Mapping[str, frozenset[Kind]]) -> bool:
    """Tell whether a stack is the mean of another one of the file."""
    mean = says(name.rsplit("/", 1)[-1], ("avg*", "mean*", "average*", "median*"))
    return mean and any(other != name and kinds[other] == kind for other in kinds)


def _telling(name: str, names: Sequence[str]) -> str:
    """Return the part of a path that tells a stack from the others."""
    split = [each.strip("/").split("/") for each in names]
    mine = name.strip("/").split("/")
    for k, part in enumerate(mine):
        if len({parts[k] if k < len(parts) else "" for parts in split}) == len(names):
            return part
    return "_".join(mine)


def _keys_by_looks(item: Found, n: int, lists: Mapping[str, int], path: Path) -> None:
    """Find the key of the frames and the angles among the lists of numbers of a file."""
    keyed = [
        name for name, count in lists.items() if "image_key" in name.lower() and count == n and "control" not in name
    ]
    if keyed:
        item.keys["key"] = keyed[0].strip("/")
    named = [name for name in lists if _called_angle(name)]
    for wanted in (equal, several, nearly):
        fitting = [name for name in named if wanted(lists[name], n)]
        if fitting:
            best = min(fitting, key=lambda name: ("angle" not in name.lower(), len(name), name))
            item.keys["angles"] = best.strip("/")
            item.told.append(f"{best} ({lists[best]} values) taken as angles")
            return
    if named:
        item.told.append(f"{named[0]} has {lists[named[0]]} values, which do not fit {n} frames")
    unnamed = [name for name, count in lists.items() if count == n and _turns(name, path)]
    if len(unnamed) == 1:
        item.keys["angles"] = unnamed[0].strip("/")
        item.told.append(f"{unnamed[0]} is not called so, but runs over half a turn or more: taken as angles")


def equal(count: int, n: int) -> bool:
    """Tell whether there is one value for each of `n` frames."""
    return count == n


def several(count: int, n: int) -> bool:
    """Tell whether there are several values for each frame."""
    return count > n and count % n == 0 and count // n <= 64


def nearly(count: int, n: int) -> bool:
    """Tell whether a few values are missing or too many."""
    return abs(count - n) <= max(3, n // 50)


def _turns(name: str, path: Path) -> bool:
    values = read_values(parse(name.strip("/")), path).floats()
    steps = np.diff(values)
    if not np.all(np.isfinite(values)) or not len(steps) or _NO_ANGLE.search(name.rsplit("/", 1)[-1]):
        return False
    return bool(np.all(steps > 0) or np.all(steps < 0)) and any(
        abs(np.ptp(values) + abs(np.median(steps)) * extra - turn) < 2.0 for extra in (0, 1) for turn in (180, 360)
    )
