"""A scan, or several of one file, put together from named datasets."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.checks import checked
from xct_pipeline.acquisition.facts import moment
from xct_pipeline.acquisition.formats import Kind, format_of
from xct_pipeline.acquisition.hdf5 import one_line, open_hdf5, reading, split_entry
from xct_pipeline.acquisition.layout import times as clocks
from xct_pipeline.acquisition.layout.angles import angles_of, by_time, matched
from xct_pipeline.acquisition.layout.source import Values, is_there, parse, read_values
from xct_pipeline.acquisition.layout.split import Part, split
from xct_pipeline.acquisition.layout.stacks import AveragedFrames, EvenFrames, Opened, open_stack
from xct_pipeline.acquisition.references import JoinedFrames, with_references
from xct_pipeline.acquisition.selection import SelectedFrames
from xct_pipeline.acquisition.units import convert
from xct_pipeline.scan import Frames, Scan, ScanError

SPLITS = ("rotation", "turn", "angles")
STEADY = 1e-3  # relative change of the ring current that is none


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
        scan = _with_references(scan, keys, home, supplied)
        scan = _even_current(scan, keys, home, clock)
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


class Clock(NamedTuple):
    """Time stamps of the projections (seconds, with their zero), and all that were read, for other clocks."""

    stamps: clocks.Stamps | None
    raw: npt.NDArray[np.float64] | None
    kinds: Mapping[str, npt.NDArray[np.int64]]


def unsplit(keys: Mapping[str, Any], home: Path, name: str, supplied: Supplied) -> tuple[Scan, Clock]:
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
        return _timed(scan, keys, home, Clock(None, None, {}))
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
    return _timed(scan, keys, home, Clock(stamps, raw, kinds))


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
        values, stated = _with_unit(keys["times"], home)
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


def length_of(opened: Opened, otherwise: int) -> int:
    """Return how many frames the dataset holds from which some were chosen."""
    if opened.holder is None:
        return otherwise
    with open_hdf5(opened.holder[0]) as file:
        shape = file[opened.holder[1]].shape
        return int(shape[0]) if len(shape) > 2 else otherwise


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


def _with_unit(text: str, home: Path) -> tuple[Values, str]:
    """Read a dataset, whose unit may stand behind it where the file states none: ``dataset mm``."""
    name, _, unit = text.strip().rpartition(" ")
    if name and not is_there(parse(text), home):
        return read_values(parse(name), home), unit
    return read_values(parse(text), home), ""


def _quantity(keys: Mapping[str, Any], key: str, home: Path, told: list[str]) -> float | None:
    """Return an energy in keV or a pixel in micrometre that a dataset holds: ``8.5``, ``20.3nm``, or with its unit."""
    if key not in keys:
        return None
    values, stated = _with_unit(keys[key], home)
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


def _timed(scan: Scan, keys: Mapping[str, Any], home: Path, clock: Clock) -> tuple[Scan, Clock]:
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


def _with_references(scan: Scan, keys: Mapping[str, Any], home: Path, supplied: Supplied) -> Scan:
    """Give a scan the flats and darks that are named, before and after it."""
    kinds: tuple[tuple[Kind, bool], ...] = (("flat", supplied.without_flats), ("dark", supplied.without_darks))
    for kind, without in kinds:
        before, after = keys.get(f"{kind}s"), keys.get(f"{kind}s_after")
        if without or before == "none" or (before is None and after is None):
            continue
        groups = [_opened(scan, kind, named, home) for named in (before, after)]
        n = float(len(scan.angles))
        stacks = [frames for group in groups for frames, _, _ in group]
        files = [path for group in groups for _, used, _ in group for path in used]
        positions = [
            np.full(frames.shape[0], n if k == 1 or late else 0.0)
            for k, group in enumerate(groups)
            for frames, _, late in group
        ]
        for frames, used, _ in [item for group in groups for item in group]:
            if frames.shape[1:] != scan.shape[1:]:
                raise ScanError(
                    f"{used[0]}: {kind}s are {frames.shape[1:]}, the projections {scan.shape[1:]} (row, column): "
                    "references of another detector"
                )
        stack = stacks[0] if len(stacks) == 1 else JoinedFrames(tuple(stacks))
        new: dict[str, Any] = {f"{kind}s": stack, f"{kind}_position": np.concatenate(positions)}
        scan = replace(scan, **new, files=tuple(dict.fromkeys((*scan.files, *files))))
    return scan


_Group = list[tuple[Frames, Sequence[Path], bool]]


def _opened(scan: Scan, kind: Kind, named: str | Sequence[str] | None, home: Path) -> _Group:
    """Open references: datasets, or whole files; the last says that they were taken after the scan."""
    found: _Group = []
    for text in [named] if isinstance(named, str) else named or ():
        source = parse(text)
        if source.file is None and _matches(text, home) and not is_there(source, home):
            whole = with_references(scan, kind, str(home.parent / text), None, home.parent)
            frames = whole.flats if kind == "flat" else whole.darks
            assert frames is not None
            position = whole.flat_position if kind == "flat" else whole.dark_position
            late = bool(len(position) and position.min() >= len(scan.angles))
            found.append((frames, [path for path in whole.files if path not in scan.files], late))
            continue
        opened = open_stack(source, home)
        found.append((opened.frames, opened.files, _late(scan, opened)))
    return found


def _matches(text: str, home: Path) -> bool:
    below = str(Path(glob.escape(str(home.parent))) / text)
    return (home.parent / text).is_file() or bool(glob.glob(below))


def _late(scan: Scan, opened: Opened) -> bool:
    """Tell by time stamps whether references were taken after the scan."""
    if scan.end is None or scan.end.tzinfo is None:
        return False
    values = clocks.beside(opened.holder, length_of(opened, -1))
    if values is None or len(opened.numbers) == 0:
        return False
    first = clocks.stamps_of(values).at(int(opened.numbers[0]))
    return first is not None and first >= scan.end


def _even_current(scan: Scan, keys: Mapping[str, Any], home: Path, clock: Clock) -> Scan:
    """Bring counts to one current of the storage ring, where the file has it and it changed."""
    if "current" not in keys or not clock.kinds:
        return scan
    values = read_values(parse(keys["current"]), home)
    current = values.floats()
    total = sum(len(index) for index in clock.kinds.values())
    if "current_times" in keys:
        at = _with_unit(keys["current_times"], home)[0].floats()
        if clock.raw is None or len(at) != len(current):
            raise ScanError(f"{values.where}: {len(at)} times for {len(current)} currents, or no times of the frames")
        current = np.interp(clock.raw, at, current)
    largest = max(int(index.max()) for index in clock.kinds.values() if len(index))
    if len(current) <= largest:
        raise ScanError(f"{values.where}: {len(current)} currents for {total} frames: name current_times")
    beam = np.concatenate([clock.kinds["projections"], clock.kinds["flats"]])
    if not np.all(current[beam] > 0):
        raise ScanError(f"{values.where}: the current is not above 0 in every frame with beam")
    usual = float(np.median(current[beam]))
    if np.ptp(current[beam]) < STEADY * usual:
        return scan
    own = scan.flats is not None and len(clock.kinds["flats"]) == scan.flats.shape[0]
    if not own:
        return replace(
            scan, warnings=(*scan.warnings, f"the ring current of the flats is not known: {values.name} is not used")
        )
    even: dict[str, Any] = {}
    for kind, frames in (("projections", scan.projections), ("flats", scan.flats)):
        assert frames is not None
        if len(clock.kinds[kind]) != frames.shape[0]:
            raise ScanError(f"{values.where}: cannot be used with frames that are averaged or left out")
        even[kind] = EvenFrames(frames, usual / current[clock.kinds[kind]], scan.darks, scan.saturation)
    low, high = current[beam].min(), current[beam].max()
    told = f"counts are brought to one ring current ({low:.4g} to {high:.4g}, {values.name})"
    files = tuple(dict.fromkeys((*scan.files, *sorted(values.files))))
    return replace(scan, **even, files=files, warnings=(*scan.warnings, told))


def _part(scan: Scan, clock: Clock, part: Part, name: str) -> Scan:
    """Return one scan of a file that holds several."""
    kept = np.arange(part.first, part.stop)
    n = len(kept)
    start, end = _span(scan, clock, part)
    new = {
        f"{kind}_position": np.clip(getattr(scan, f"{kind}_position") - part.first, 0, n) for kind in ("flat", "dark")
    }
    exposure = dict(scan.exposure_s)
    if "projections" in exposure:
        exposure["projections"] = exposure["projections"][kept]
    return replace(
        scan,
        name=name,
        projections=SelectedFrames(scan.projections, kept),
        angles=scan.angles[kept],
        start=start,
        end=end,
        exposure_s=exposure,
        warnings=(*scan.warnings, f"projections {part.first} to {part.stop - 1} of {len(scan.angles)} in its file"),
        metadata={**scan.metadata, "part": f"{part.first}:{part.stop}"},
        **new,
    )


def _span(scan: Scan, clock: Clock, part: Part) -> tuple[datetime | None, datetime | None]:
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
        return _with_references(scan, own, home, Supplied())
