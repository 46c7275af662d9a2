"""A folder of raw files: what scans, references, angles and logs are in it, and what each scan lacks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted

from xct_pipeline.acquisition.formats import Kind
from xct_pipeline.acquisition.hdf5 import one_line
from xct_pipeline.acquisition.images import foreign
from xct_pipeline.acquisition.layout.described import open_described, peek
from xct_pipeline.acquisition.layout.found import AngleList, Folder, Found, Reference, says
from xct_pipeline.acquisition.layout.hdf5_scans import (
    by_format,
    by_looks,
    by_recipe,
    equal,
    nearly,
    references_by_recipe,
    several,
)
from xct_pipeline.acquisition.layout.image_scans import image_scans
from xct_pipeline.acquisition.layout.pairing import pair
from xct_pipeline.acquisition.layout.recipes import Recipe, references_in, the_recipe
from xct_pipeline.acquisition.layout.source import parse, read_values
from xct_pipeline.acquisition.layout.split import split
from xct_pipeline.acquisition.layout.stacks import open_stack
from xct_pipeline.acquisition.reader import open_tiff_scan
from xct_pipeline.acquisition.tiff_stack import read_angles
from xct_pipeline.inputs import IMAGE_SUFFIXES
from xct_pipeline.names import alike, fitting_name
from xct_pipeline.scan import Frames, Scan, ScanError

MOST_FILES = 200_000
_HDF5 = b"\x89HDF\r\n\x1a\n"
_LOG = re.compile(r"ewe|voltage|current|capacity|charge|potential|<I>|I/mA|cycle|ecell", re.IGNORECASE)
_LOGS = (".mpt", ".mpr", ".nda", ".ndax", ".dta")
_TEXTS = (".txt", ".csv", ".dat", ".log", ".ang", ".angles", ".theta", ".tsv", "")
_FOREIGN = (
    ".raw",
    ".vol",
    ".his",
    ".spe",
    ".txrm",
    ".xrm",
    ".cbf",
    ".fits",
    ".fit",
    ".nc",
    ".hst",
    ".img",
    ".jp2",
    ".seq",
)


def walk(root: Path, recipes: Sequence[Recipe], files: Sequence[Path] | None = None) -> Folder:
    """Find what is in a folder.

    Parameters
    ----------
    root : Path
        The folder.
    recipes : sequence of Recipe
        That are tried, before a file's own format and what its datasets look like.
    files : sequence of Path, optional
        Scans are taken of these alone; references and angles also of others in the folder.

    Returns
    -------
    Folder
        Scans in order of time, or natural order where a time is not known, each with what is missing.

    Raises
    ------
    ScanError
        Too many files, or a file that several recipes recognise.
    """
    words: dict[str, tuple[str, ...]] = {}
    for recipe in recipes:
        words |= recipe.images
    folder = Folder(root)
    hdf5, images, texts = _sorted(root, folder)
    rest = _recognised(hdf5, recipes, folder, words)
    rest = [path for path in rest if path.resolve() not in {p.resolve() for p in folder.consumed}]
    _unrecognised(rest, folder, words)
    consumed = {path.resolve() for path in folder.consumed}
    image_scans([path for path in images if path.resolve() not in consumed], folder, words)
    _texts(texts, folder, words)
    if files is not None:
        wanted = {path.resolve() for path in files}
        folder.scans = [scan for scan in folder.scans if scan.home.resolve() in wanted]
    for scan in folder.scans:
        _complete(scan, folder)
    pair(folder.scans, folder.references)
    _order_and_name(folder)
    for scan in folder.scans:
        _try(scan)
    return folder


def _sorted(root: Path, folder: Folder) -> tuple[list[Path], list[Path], list[Path]]:
    """Return HDF5 files, images, and texts below a folder, in natural order; what no format reads is told."""
    hdf5, images, texts = [], [], []
    strange: dict[str, list[Path]] = {}
    for path in natsorted(_below(root), key=str):
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            images.append(path)
        elif _starts_hdf5(path):
            hdf5.append(path)
        elif suffix in _LOGS or (suffix == ".xlsx"):
            folder.logs.append(path)
        elif suffix in _TEXTS and path.stat().st_size < 2**24:
            texts.append(path)
        elif suffix in _FOREIGN:
            strange.setdefault(suffix, []).append(path)
    folder.unused += [(paths[0], f"{len(paths)} files: {foreign(paths[0])}") for paths in strange.values()]
    return hdf5, images, texts


def _below(root: Path) -> Iterator[Path]:
    count = 0
    for where, names, files in os.walk(root):
        here = Path(where)
        names[:] = [
            name
            for name in names
            if not name.startswith(".") and not name.endswith(".zarr") and not _store(here / name)
        ]
        for name in files:
            path = here / name
            if name.startswith(".") or not path.is_file():
                continue
            count += 1
            if count > MOST_FILES:
                raise ScanError(f"{root}: holds more than {MOST_FILES} files: name a folder in it")
            yield path


def _store(path: Path) -> bool:
    return (path / ".xct").is_dir() or (path / "zarr.json").is_file()


def _starts_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(2056)
    except OSError:
        return False
    return any(start[at : at + 8] == _HDF5 for at in (0, 512, 1024, 2048))


def _recognised(
    hdf5: Sequence[Path], recipes: Sequence[Recipe], folder: Folder, words: Mapping[str, Any]
) -> list[Path]:
    """Add the scans and references that recipes recognise; return the files that none does."""
    rest: list[Path] = []
    for path in hdf5:
        recipe = the_recipe(path, recipes)
        try:
            if recipe is not None:
                for scan in by_recipe(path, recipe, folder, words):
                    folder.scans.append(scan)
                    _peek(scan, folder)
                continue
            found = references_in(path, recipes)
            if found is not None:
                folder.references += references_by_recipe(path, found[1], folder, words, found[0].name)
                continue
        except ScanError as error:
            folder.unused.append((path, str(error)))
            continue
        rest.append(path)
    return rest


def _unrecognised(rest: Sequence[Path], folder: Folder, words: Mapping[str, Any]) -> None:
    """Add what files are by their own format, or by their looks."""
    for path in rest:
        refused = ""
        try:
            scans = by_format(path, folder, words)
        except ScanError as error:
            scans, refused = [], str(error)
        if not scans:
            try:
                scans, references, angles, why = by_looks(path, folder, words)
            except ScanError as error:
                folder.unused.append((path, str(error)))
                continue
            folder.references += references
            folder.angles += angles
            if why:
                folder.unused.append((path, why))
        for scan in scans:
            folder.scans.append(scan)
            if refused and "no rotation angles" not in refused and "expected an NXtomo" not in refused:
                scan.told.append(f"not read by its own format: {refused}")
            _peek(scan, folder)
    consumed = {path.resolve() for path in folder.consumed}
    folder.scans = [scan for scan in folder.scans if scan.home.resolve() not in consumed]
    folder.references = [item for item in folder.references if item.home.resolve() not in consumed]


def _peek(scan: Found, folder: Folder) -> None:
    """Note what a scan's file says, and which other files belong to it."""
    try:
        opened = peek(scan.keys, scan.home)
    except ScanError as error:
        scan.missing.append(str(error))
        _consume(scan, folder, [*_reached(scan, "data", open_stack), *_reached(scan, "angles", read_values)])
        return
    scan.files = opened.files
    _consume(scan, folder, opened.files)
    _facts(scan, opened)


def _consume(scan: Found, folder: Folder, files: Iterable[Path]) -> None:
    """Note that files belong to a scan, so that none is taken for one of its own."""
    folder.consumed.update(path for path in files if path.resolve() != scan.home.resolve())


def _reached(scan: Found, key: str, read: Callable[..., Any]) -> tuple[Path, ...]:
    """Return the files that one of a scan's sources leads to, none where it cannot be read."""
    try:
        return tuple(read(parse(scan.keys[key]), scan.home).files)
    except (ScanError, KeyError, AttributeError):
        return ()


def _facts(scan: Found, opened: Scan) -> None:
    scan.missing = []
    scan.projections, scan.shape = opened.shape[0], opened.shape[1:]
    scan.start, scan.end = opened.start, opened.end
    own: tuple[tuple[Kind, Frames | None], ...] = (("flat", opened.flats), ("dark", opened.darks))
    scan.own = {kind: frames.shape[0] for kind, frames in own if frames is not None and frames.shape[0]}
    if len(opened.angles):
        scan.span_deg = float(np.degrees(np.ptp(np.unwrap(opened.angles))))
        _split_if_it_repeats(scan, opened)


def _split_if_it_repeats(scan: Found, opened: Scan) -> None:
    """Split a rotation that goes on beyond a turn, or to and fro, or again and again, where nothing else is said."""
    if "split" in scan.keys:
        scan.parts = len(split(opened.angles, scan.keys["split"]))
        return
    n = len(opened.angles)
    parts = split(opened.angles, "angles")
    whole = [part for part in parts if part.problem is None]
    if len(parts) > 1 and len(whole) >= max(1, len(parts) - 1) and n / len(parts) >= 20:
        scan.keys["split"] = "angles"
        scan.parts = len(parts)
        scan.native = False
        scan.told.append(f"its angles go {len(parts)} times through half a turn or more: each is a scan")


def _texts(texts: Sequence[Path], folder: Folder, words: Mapping[str, Any]) -> None:
    """Add lists of angles, one a line, and logs of a cycler."""
    for path in texts:
        try:
            values = read_angles({"file": path.name}, path.parent)
        except ScanError:
            values = np.zeros(0)
        span = float(np.degrees(np.ptp(values))) if len(values) > 2 else 0.0
        called = says(path.stem, words.get("angles", ())) or path.suffix in (".ang", ".angles", ".theta")
        if len(values) > 2 and (called or 100 < span < 1e5):
            folder.angles.append(AngleList(path, "", len(values)))
        elif path.suffix in (".csv", ".txt", ".tsv", ".log"):
            with path.open("rb") as stream:
                if len(_LOG.findall(stream.read(4096).decode("latin-1"))) > 1:
                    folder.logs.append(path)


def _complete(scan: Found, folder: Folder) -> None:
    """Find the angles of a scan in files beside it, where its own file has none that fit."""
    if scan.native or (scan.projections and not scan.images):
        return
    n = scan.projections if scan.images else _frames(scan)
    if n is None:
        return
    if "angles" not in scan.keys:
        found = _nearest(scan, folder.angles, n)
        if found is None:
            near = [item for item in folder.angles if item.home.parent == scan.home.parent]
            hint = f" ({near[0].home.name} has {near[0].count})" if near else ""
            hint = next((f" ({text})" for text in scan.told if "which do not fit" in text), hint)
            beside = scan.home.parent / "angles.txt"
            write = f"write them into {beside}, one a line in degrees, and type the same again"
            scan.missing = [f"no angles for its {n} projections were found{hint}: {write}"]
            return
        scan.missing = []
        relative = Path(os.path.relpath(found.home, scan.home.parent)).as_posix()
        scan.keys["angles"] = f"{relative}{found.source}" if not scan.images else {"file": relative}
        if scan.images and found.source:
            scan.missing = [f"its angles are in {relative}: write them into a text file, one a line"]
        scan.told.append(f"{relative}{found.source} ({found.count} values) taken as angles")
    if scan.images:
        return
    try:
        opened = peek(scan.keys, scan.home)
    except ScanError as error:
        ratio = re.search(r"set angles_per_frame = (\d+)", str(error))
        if ratio is None:
            scan.missing = [str(error)]
            return
        scan.keys["angles_per_frame"] = int(ratio[1])
        scan.told.append(f"{ratio[1]} angles were recorded for each frame: their mean is taken")
        try:
            opened = peek(scan.keys, scan.home)
        except ScanError as again:
            scan.missing = [str(again)]
            return
    scan.files = opened.files
    _consume(scan, folder, opened.files)
    _facts(scan, opened)


def _frames(scan: Found) -> int | None:
    """Return how many projections a file holds whose angles are not known."""
    try:
        return peek({**scan.keys, "angles": {"start": 0.0, "step": 1.0}}, scan.home).shape[0]
    except ScanError as error:
        scan.missing = [str(error)]
        return None


def _nearest(scan: Found, angles: Sequence[AngleList], n: int) -> AngleList | None:
    """Return the angles of the nearest folder that are as many as the projections, or several for each."""
    for folder in (scan.home.parent, *scan.home.parent.parents[:3]):
        here = [item for item in angles if item.home.parent == folder]
        for fits in (equal, several, nearly):
            fitting = [item for item in here if fits(item.count, n)]
            alike_named = [item for item in fitting if item.home.stem.split("_")[-1] == scan.home.stem.split("_")[-1]]
            if len(fitting) == 1 or (len(alike_named) == 1):
                return (alike_named or fitting)[0]
    return None


def _order_and_name(folder: Folder) -> None:
    """Sort scans by time, or by name, and give each a name of its own."""
    scans = natsorted(folder.scans, key=lambda scan: f"{scan.home} {scan.detector}")
    starts = [scan.start for scan in scans]
    if scans and all(start is not None for start in starts) and len({s.tzinfo is None for s in starts if s}) == 1:
        scans = sorted(scans, key=lambda scan: scan.start)  # type: ignore[arg-type,return-value]
    several = {name for name in (s.name for s in scans) if len({s.home for s in scans if s.name == name}) > 1}
    called: dict[int, str] = {}
    for k, scan in enumerate(scans):
        others = {other.home for other in scans if other.name == scan.name} - {scan.home}
        for depth in range(1, len(_inner(scan.home, folder.root)) + 1) if scan.name in several else ():
            tail = _tail(scan.home, folder.root, depth)
            if all(_tail(other, folder.root, depth) != tail for other in others):
                scan.told.append(f"called by its folder, as several files are {scan.home.name}")
                called[k] = tail
                break
    for k, scan in enumerate(scans):
        scan.name = called.get(k, scan.name) + (f"_{scan.detector}" if scan.detector else "")
        scan.name = fitting_name(scan.name)
    for group in alike([scan.name for scan in scans]):
        for k, scan in enumerate([item for item in scans if item.name in group]):
            scan.name = fitting_name(f"{scan.name}_{k:02d}")
    folder.scans = scans


def _tail(path: Path, root: Path, depth: int) -> str:
    return "_".join(_inner(path, root)[-depth:])


def _inner(path: Path, root: Path) -> tuple[str, ...]:
    """Return the folders between a root and a file."""
    return path.relative_to(root).parts[:-1] if root in path.parents else ()


def keys_of(scan: Found) -> dict[str, Any]:
    """Return the keys of a scan with its references, every file named from the scan's own folder on."""
    keys = dict(scan.keys)
    for kind, references in scan.paired.items():
        for late in (False, True):
            named = [text for r in references if r.after == late for text in _named(r, scan.home.parent)]
            if named:
                keys[f"{kind}s{'_after' * late}"] = named
    return keys


def _named(reference: Reference, base: Path) -> list[str]:
    """Return how references are named from a folder on."""
    if reference.images:
        below = Path(os.path.relpath(reference.home.parent, base)).as_posix()
        return [f"{below}/{name}" if below != "." else name for name in reference.source.split(";")]
    return [Path(os.path.relpath(reference.home, base)).as_posix() + reference.source]


def _try(scan: Found) -> None:
    """Open a scan as its configuration will have it; what is wrong is missing."""
    if scan.missing:
        return
    keys = keys_of(scan)
    try:
        if scan.images:
            named = {key: value for key, value in keys.items() if key not in ("name", "times")}
            opened = open_tiff_scan(scan.name, folder=scan.home.parent, **named)
            _image_facts(scan, opened)
            return
        found = open_described(keys, scan.home, scan.name)
    except ScanError as error:
        scan.missing.append(one_line(str(error)))
        return
    scan.told += [item.problem for item in found if item.problem]
    if all(item.scan is None for item in found):
        scan.missing.append("no scan of it is whole")
    for item in found:
        if item.scan is not None:
            scan.told += [text for text in item.scan.warnings if text not in scan.told][:4]
            break


def _image_facts(scan: Found, opened: Scan) -> None:
    scan.span_deg = float(np.degrees(np.ptp(np.unwrap(opened.angles))))
