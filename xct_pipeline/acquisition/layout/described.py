"""A scan, or several of one file, put together from named datasets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.checks import checked
from xct_pipeline.acquisition.facts import moment
from xct_pipeline.acquisition.formats import format_of
from xct_pipeline.acquisition.hdf5 import one_line, reading, split_entry
from xct_pipeline.acquisition.layout import times as clocks
from xct_pipeline.acquisition.layout.angles import angles_of, by_time, matched
from xct_pipeline.acquisition.layout.current import even_current
from xct_pipeline.acquisition.layout.named_references import with_named_references
from xct_pipeline.acquisition.layout.source import parse, read_values, read_with_unit
from xct_pipeline.acquisition.layout.split import Part, split
from xct_pipeline.acquisition.layout.stacks import AveragedFrames, Opened, length_of, open_stack
from xct_pipeline.acquisition.selection import SelectedFrames, without
from xct_pipeline.acquisition.units import convert
from xct_pipeline.scan import Frames, Scan, ScanError

SPLITS = ("rotation", "turn", "angles")


class Named(NamedTuple):
    """One scan of a description: opened, or why it could not be."""

    name: str
    scan: Scan | None
    problem: str | None = None


@dataclass(frozen=True)
class Supplied:
    """What holds for all scans of a configuration."""

    pixel_size_um: float | None = None
    energy_keV: float | None = None
    without_flats: bool = False
    without_darks: bool = False


def open_described(keys: Mapping[str, Any], home: Path, name: str, supplied: Supplied = Supplied()) -> list[Named]:
    """Open the scans that a table of named datasets describes.

    Parameters
    ----------
    keys : mapping
        As ``[[acquisition.hdf5]]`` has them; what is None or absent is not given.
    home : Path
        The scan's file.
    name : str
        Of the scan; of several the first part of each name.
    supplied : Supplied
        What holds for all.

    Returns
    -------
    list of Named
        More than one where the table says how to split. A rotation that was cut short has a problem and hinders no
        other.

    Raises
    ------
    ScanError
        One line with the file, the dataset, the figures and what to do.
    """
    keys = {key: value for key, value in keys.items() if value is not None}
    with reading(one_line(f"scan {name}")):
        scan, clock = unsplit(keys, home, name, supplied)
        scan = with_named_references(scan, keys, home, supplied.without_flats, supplied.without_darks)
        scan = even_current(scan, keys, home, clock)
        without = {
            "without_flats": supplied.without_flats or keys.get("flats") == "none",
            "without_darks": supplied.without_darks or keys.get("darks") == "none",
        }
        scan = replace(scan, metadata={**scan.metadata, "layout": _canonical(keys)})
        if "split" not in keys:
            return [Named(name, checked(scan, **without))]
        parts = split(scan.angles, _how(keys["split"], home))
        digits = max(2, len(str(len(parts) - 1)))
        found = []
        for k, part in enumerate(parts):
            called = f"{name}_{k:0{digits}d}"
            if part.problem:
                found.append(Named(called, None, f"{called}: {part.problem}"))
                continue
            try:
                found.append(Named(called, checked(_part(scan, clock, part, called), **without)))
            except ScanError as error:
                found.append(Named(called, None, str(error)))
        return found


def _canonical(keys: Mapping[str, Any]) -> str:
    return "; ".join(f"{key} = {keys[key]}" for key in sorted(keys) if key not in ("name", "file"))


def _how(given: Any, home: Path) -> Any:
    """Return how to split: a word, a number, or the number that a dataset holds."""
    if given in SPLITS:
        return given
    if isinstance(given, int) or str(given).isdigit():
        count = int(given)
    else:
        values = read_values(parse(str(given)), home)
        numbers = values.floats()
        if len(numbers) != 1 or not numbers[0] > 0 or numbers[0] != int(numbers[0]):
            raise ScanError(f"{values.where}: holds {numbers[:3]}, not the number of projections of a scan")
        count = int(numbers[0])
    if count < 3:
        raise ScanError(f"split = {count}: a scan has at least three projections")
    return count


def unsplit(keys: Mapping[str, Any], home: Path, name: str, supplied: Supplied) -> tuple[Scan, clocks.Clock]:
    """Open a file before it is split."""
    if "data" not in keys:
        path, entry = (home, keys["entry"]) if "entry" in keys else split_entry(home.name, home.parent)
        given = {"pixel_size_um": keys.get("pixel_size_um") or supplied.pixel_size_um}
        given["energy_keV"] = keys.get("energy_keV") or supplied.energy_keV
        scan = replace(format_of(path, entry).open(path, entry, **given), name=name)
        if "angles" in keys:
            given_angles = angles_of(keys["angles"], home, scan.shape[0])
            match = matched(given_angles.values, scan.shape[0], given_angles.where)
            scan = replace(scan, angles=match.angles, files=(*scan.files, *given_angles.files))
        return _timed(scan, keys, home, clocks.Clock(None, None, {}))
    opened = open_stack(parse(keys["data"]), home, keys.get("images"))
    kinds, key_files = _kinds(keys, home, opened)
    n = len(kinds["projections"])
    if n == 0:
        raise ScanError(f"{opened.where}: no projections (no frame has key 0)")
    stamps, raw, told = _stamps(keys, home, opened)
    chosen, angles, angle_files, more = _angles(keys, home, opened, kinds, raw)
    if chosen is not None:
        kinds = {**kinds, "projections": kinds["projections"][chosen]}
    frames = {kind: _some(opened.frames, index) for kind, index in kinds.items()}
    projections = frames["projections"]
    assert projections is not None
    dtype = projections.dtype
    per_angle = keys.get("frames_per_angle", 1)
    if per_angle > 1:
        projections = AveragedFrames(projections, per_angle)
        told.append(f"{per_angle} frames at each angle are averaged")
    before = np.searchsorted(kinds["projections"], kinds["flats"]) / per_angle
    dark_before = np.searchsorted(kinds["projections"], kinds["darks"]) / per_angle
    scan = Scan(
        name=name,
        projections=projections,
        angles=angles,
        flats=frames["flats"],
        darks=frames["darks"],
        flat_position=before.astype(np.float64),
        dark_position=dark_before.astype(np.float64),
        pixel_size_um=keys.get("pixel_size_um") or supplied.pixel_size_um or _quantity(keys, "pixel_size", home, told),
        energy_keV=keys.get("energy_keV") or supplied.energy_keV or _quantity(keys, "energy", home, told),
        saturation=float(np.iinfo(dtype).max) if dtype.kind in "ui" else None,
        files=tuple(dict.fromkeys((home, *opened.files, *key_files, *angle_files))),
        warnings=(*told, *more),
        metadata={"dataset": opened.where},
    )
    if per_angle > 1 and stamps is not None:
        kinds = {**kinds, "projections": kinds["projections"][::per_angle]}
    return _timed(scan, keys, home, clocks.Clock(stamps, raw, kinds))


def _kinds(
    keys: Mapping[str, Any], home: Path, opened: Opened
) -> tuple[dict[str, npt.NDArray[np.int64]], tuple[Path, ...]]:
    """Say which of the frames are projections, flats and darks."""
    n = opened.frames.shape[0]
    if "key" not in keys:
        return {"projections": np.arange(n), "flats": np.arange(0), "darks": np.arange(0)}, ()
    values = read_values(parse(keys["key"]), home)
    key = values.floats()
    if len(key) != n and len(key) > int(opened.numbers.max()):
        key = key[opened.numbers]
    if len(key) != n:
        raise ScanError(f"{values.where}: has {len(key)} values for {n} frames")
    if not np.all(np.isin(key, (-1, 0, 1, 2, 3))):
        strange = key[~np.isin(key, (-1, 0, 1, 2, 3))][0]
        raise ScanError(f"{values.where}: holds {strange:g}; 0 projection, 1 flat, 2 dark, 3 invalid are known")
    kinds = {kind: np.flatnonzero(key == k) for k, kind in enumerate(("projections", "flats", "darks"))}
    return kinds, tuple(sorted(values.files))


def _some(frames: Frames, index: npt.NDArray[np.int64]) -> Frames | None:
    if len(index) == 0:
        return None
    return frames if len(index) == frames.shape[0] else SelectedFrames(frames, index)


def _stamps(
    keys: Mapping[str, Any], home: Path, opened: Opened
) -> tuple[clocks.Stamps | None, npt.NDArray[np.float64] | None, list[str]]:
    """Read the time stamps that are named, or that the detector wrote beside the frames."""
    n = opened.frames.shape[0]
    told: list[str] = []
    if keys.get("times", "file") != "file":
        values, stated = read_with_unit(keys["times"], home)
        values = replace(values, unit=values.unit or stated)
    else:
        total = int(opened.numbers.max()) + 1 if len(opened.numbers) else 0
        found = clocks.beside(opened.holder, length_of(opened, total))
        if found is None:
            return None, None, told
        values = found
    if len(values.array) != n and len(values.array) > int(opened.numbers.max()):
        values = replace(values, array=values.array[opened.numbers])
    if len(values.array) != n:
        raise ScanError(f"{values.where}: {len(values.array)} times for {n} frames")
    stamps = clocks.stamps_of(values)
    told.append(f"times of the frames from {values.where}, taken as {stamps.said}")
    raw = stamps.seconds if values.is_text else values.floats()
    return stamps, raw, told


def _angles(
    keys: Mapping[str, Any],
    home: Path,
    opened: Opened,
    kinds: Mapping[str, npt.NDArray[np.int64]],
    raw: npt.NDArray[np.float64] | None,
) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.float64], tuple[Path, ...], list[str]]:
    """Return which projections are used, their angles, the files that hold them, and what is worth telling."""
    if "angles" not in keys:
        raise ScanError(
            f"{opened.where}: angles are not given: name a dataset, a text file, or write {{ start, stop, count }} or "
            "{ start, step }"
        )
    projections = kinds["projections"]
    n, n_all = len(projections), opened.frames.shape[0]
    found = angles_of(keys["angles"], home, n // keys.get("frames_per_angle", 1))
    clock = None if raw is None else raw[projections]
    values, per_frame = found.values, keys.get("angles_per_frame", 1)
    if "angle_times" in keys:
        if clock is None:
            raise ScanError(f"{found.where}: angle_times needs the times of the frames")
        match = by_time(values, read_values(parse(keys["angle_times"]), home).floats(), clock, found.where)
    else:
        if n != n_all and len(values) == n_all * per_frame:
            values = values.reshape(n_all, per_frame)[projections].ravel()
        match = matched(
            values, n, found.where, clock=clock, per_frame=per_frame, per_angle=keys.get("frames_per_angle", 1)
        )
    told = [*found.told, *([match.told] if match.told else [])]
    if per_frame > 1:
        told.append(f"{per_frame} angles of each frame are averaged")
    return match.frames, match.angles, found.files, told


def _quantity(keys: Mapping[str, Any], key: str, home: Path, told: list[str]) -> float | None:
    """Return an energy in keV or a pixel in micrometre that a dataset holds: ``8.5``, ``20.3nm``, or with its unit."""
    if key not in keys:
        return None
    values, stated = read_with_unit(keys[key], home)
    to, usual = ("keV", "keV") if key == "energy" else ("micrometer", "micrometer")
    first = values.texts()[0] if values.is_text else ""
    found = re.fullmatch(r"\s*([-+.\deE]+)\s*([^\d\s].*)?", first) if values.is_text else None
    if values.is_text and found is None:
        raise ScanError(f"{values.where}: {first[:40]!r} is no number with a unit")
    number = float(np.median(values.floats())) if found is None else float(found[1])
    unit = values.unit or ((found[2] or "") if found else "") or stated
    if not unit:
        unit = usual if key != "energy" or number < 1000 else "eV"
        told.append(f"{values.name} states no unit: taken as {number:g} {unit}")
    result = float(convert(np.array(number), unit, to, otherwise=unit, where=values.where))
    if not 0 < result < np.inf:
        told.append(f"{values.name} is {number:g}: left out")
        return None
    return result


def _timed(scan: Scan, keys: Mapping[str, Any], home: Path, clock: clocks.Clock) -> tuple[Scan, clocks.Clock]:
    """Say when a scan began and ended: as given, by its frames, by its file's facts, or by the file's time."""
    start, end, told = scan.start, scan.end, []
    index = clock.kinds.get("projections", np.arange(0))
    stamps = clock.stamps
    if stamps is not None and len(index) and stamps.zero is not None:
        start, end = stamps.at(int(index[0])), stamps.at(int(index[-1]))
    if "start" in keys:
        start = _moment(keys["start"], home)
    if "end" in keys:
        end = _moment(keys["end"], home)
    if keys.get("times") == "file":
        end = datetime.fromtimestamp(home.stat().st_mtime, UTC)
        length = float(np.ptp(stamps.seconds[index])) if stamps is not None and len(index) else 0.0
        start = end - timedelta(seconds=length)
        told.append("its time is that of the file, which a copy may change")
    span = 0.0 if stamps is None or not len(index) else float(stamps.seconds[index[-1]] - stamps.seconds[index[0]])
    if keys.get("end") == "file" and span > 0 and "start" not in keys and end is not None:
        start = end - timedelta(seconds=span)
        told.append("its end is the time of the file, which a copy may change")
    elif stamps is not None and len(index) and (end is None or stamps.zero is None) and start is not None:
        end = start + timedelta(seconds=float(stamps.seconds[index[-1]] - stamps.seconds[index[0]]))
    return replace(scan, start=start, end=end, warnings=(*scan.warnings, *told)), clock


def _moment(given: Any, home: Path) -> datetime:
    if isinstance(given, datetime):
        return given
    if given == "file":
        return datetime.fromtimestamp(home.stat().st_mtime, UTC)
    found = moment(given)
    return found if found is not None else clocks.single(read_values(parse(given), home))


def _part(scan: Scan, clock: clocks.Clock, part: Part, name: str) -> Scan:
    """Return one scan of a file that holds several."""
    others = np.setdiff1d(np.arange(len(scan.angles)), np.arange(part.first, part.stop))
    start, end = _span(scan, clock, part)
    told = f"projections {part.first} to {part.stop - 1} of {len(scan.angles)} in its file"
    return replace(
        without(scan, projections=others),
        name=name,
        start=start,
        end=end,
        warnings=(*scan.warnings, told),
        metadata={**scan.metadata, "part": f"{part.first}:{part.stop}"},
    )


def _span(scan: Scan, clock: clocks.Clock, part: Part) -> tuple[datetime | None, datetime | None]:
    """Return when a part began and ended: by its frames' stamps, else by an even pace from start to end."""
    index = clock.kinds.get("projections", np.arange(0))
    stamps = clock.stamps
    if stamps is not None and scan.start is not None and len(index) == len(scan.angles):
        zero = stamps.seconds[index[0]]
        first, last = stamps.seconds[index[part.first]] - zero, stamps.seconds[index[part.stop - 1]] - zero
        return scan.start + timedelta(seconds=float(first)), scan.start + timedelta(seconds=float(last))
    if scan.start is None or scan.end is None:
        return (scan.start, None) if part.first == 0 else (None, None)
    pace = (scan.end - scan.start) / len(scan.angles)
    return scan.start + part.first * pace, scan.start + part.stop * pace


def peek(keys: Mapping[str, Any], home: Path) -> Scan:
    """Open a file as it is described, neither split nor given the references of other files, and not checked.

    Raises
    ------
    ScanError
        As `open_described`.
    """
    keys = {key: value for key, value in keys.items() if value is not None}
    with reading(one_line(str(home))):
        scan, clock = unsplit(keys, home, home.stem, Supplied())
        own = {key: value for key, value in keys.items() if key.startswith(("flats", "darks"))}
        del clock
        return with_named_references(scan, own, home)
