"""Angles of a scan as its layout tells them, and frames that are more or fewer than the angles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.bounds import radians_without_unit
from xct_pipeline.acquisition.hdf5 import one_line
from xct_pipeline.acquisition.layout.source import parse, read_values
from xct_pipeline.acquisition.tiff_stack import read_angles
from xct_pipeline.acquisition.units import convert
from xct_pipeline.scan import ScanError

Array = npt.NDArray[np.float64]
_HDF5 = b"\x89HDF\r\n\x1a\n"


class Angles(NamedTuple):
    """Radians as recorded, the files that hold them, what is worth telling, and where they stand."""

    values: Array
    files: tuple[Path, ...]
    told: tuple[str, ...]
    where: str


def angles_of(given: Any, home: Path, count: int) -> Angles:
    """Read angles.

    Parameters
    ----------
    given : str or mapping
        A dataset, the name of a text file, or ``{file, lines}``, ``{start, stop, count}``, ``{start, step}``.
    home : Path
        The scan's file, from which names start.
    count : int
        Projections, for a constant step.

    Raises
    ------
    ScanError
        Absent, unreadable, or no angles.
    """
    if isinstance(given, Mapping):
        keys = {key: value for key, value in given.items() if value is not None}
        if "step" in keys:
            start, step = float(keys.get("start", 0.0)), float(keys["step"])
            return Angles(np.deg2rad(start + step * np.arange(count)), (), (), "angles")
        files = (home.parent / str(keys["file"]),) if "file" in keys else ()
        return Angles(read_angles(keys, home.parent), files, (), str(files[0]) if files else "angles")
    if _is_text(home.parent / given):
        path = home.parent / given
        return Angles(read_angles({"file": given}, home.parent), (path,), (), str(path))
    values = read_values(parse(given), home)
    numbers, told = values.floats(), []
    unit = values.unit
    if not unit and len(numbers) and np.ptp(numbers) < 6.3:
        span = float(np.ptp(numbers))
        if radians_without_unit(numbers):
            told.append(f"{values.name} states no unit: {span:.4g} in all, taken as radians")
            unit = "radian"
        else:
            told.append(f"{values.name} states no unit: {span:.3f} degrees in all, unless they are radians")
    radians = convert(numbers, unit, "radian", otherwise="degree", where=values.where)
    return Angles(radians, tuple(sorted(values.files)), tuple(told), values.where)


def _is_text(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return path.is_file() and not stream.read(8).startswith(_HDF5)
    except (OSError, ValueError):
        return False


class Matched(NamedTuple):
    """Which frames are used (None for all), the angle of each, and what is worth telling."""

    frames: npt.NDArray[np.int64] | None
    angles: Array
    told: str | None = None


def matched(
    angles: Array, n: int, where: str, *, clock: Array | None = None, per_frame: int = 1, per_angle: int = 1
) -> Matched:
    """Give each of `n` frames (means of `per_angle` of them) its angle.

    Parameters
    ----------
    angles : numpy.ndarray
        As recorded.
    n : int
        Frames, before any are averaged.
    where : str
        Where the angles stand, for messages.
    clock : numpy.ndarray, optional
        Time stamp of each frame: by them a lost or doubled frame is found.
    per_frame : int
        Angles that were recorded for each frame.
    per_angle : int
        Frames that were taken at each angle.

    Raises
    ------
    ScanError
        Too few or too many, with the figures.
    """
    if per_angle > 1:
        if n % per_angle:
            raise ScanError(f"{where}: {n} frames are no multiple of frames_per_angle = {per_angle}")
        if len(angles) == n:
            angles = angles.reshape(-1, per_angle).mean(axis=1)
        n //= per_angle
    if per_frame > 1:
        if len(angles) != per_frame * n:
            raise ScanError(f"{where}: {len(angles)} angles for {n} frames, but angles_per_frame = {per_frame}")
        return Matched(None, angles.reshape(n, per_frame).mean(axis=1))
    if len(angles) == n:
        return Matched(None, angles)
    found = None if clock is None or per_angle > 1 else _by_clock(angles, clock, n)
    if found is not None:
        return found
    hint = "name those that belong by a range behind the dataset, [first:stop]"
    if n and len(angles) % n == 0 and len(angles):
        hint = f"set angles_per_frame = {len(angles) // n} if so many were recorded for each frame"
    elif len(angles) and n % len(angles) == 0:
        hint = f"set frames_per_angle = {n // len(angles)} if so many frames were taken at each angle, or split"
    stamps = "" if clock is None else " (its time stamps do not tell which)"
    raise ScanError(one_line(f"{where}: {len(angles)} angles for {n} frames{stamps}: {hint}"))


def _by_clock(angles: Array, clock: Array, n: int) -> Matched | None:
    """Find lost or doubled frames by even time stamps; None where these do not tell them."""
    steps = np.diff(clock)
    usual = float(np.median(steps)) if len(steps) else 0.0
    if usual <= 0 or abs(len(angles) - n) > max(3, 0.02 * n):
        return None
    places = np.concatenate([[0], np.cumsum(np.round(steps / usual))]).astype(np.int64)
    even = (
        np.abs(clock - clock[0] - places * usual).max() < 0.4 * usual
        or np.abs(steps / usual - np.round(steps / usual)).max() < 0.3
    )
    kept = np.flatnonzero(np.concatenate([[True], np.diff(places) > 0]))
    if not even or places[-1] + 1 != len(angles):
        return None
    what = []
    lost = np.setdiff1d(np.arange(len(angles)), places)
    if len(lost):
        what.append(f"{len(lost)} lost (angle {lost[0]}{' ...' * (len(lost) > 1)} has no frame)")
    if len(kept) < n:
        extra = np.setdiff1d(np.arange(n), kept)
        what.append(f"{len(extra)} too many (frame {extra[0]}{' ...' * (len(extra) > 1)})")
    told = f"{n} frames for {len(angles)} angles: by their time stamps {' and '.join(what)}"
    return Matched(None if len(kept) == n else kept, angles[places[kept]], told)


def by_time(angles: Array, angle_times: Array, clock: Array, where: str) -> Matched:
    """Give each frame the angle at its time, by linear interpolation; frames outside have none and are left out.

    Raises
    ------
    ScanError
        Times and angles differ in number, or no frame lies among them.
    """
    if len(angles) != len(angle_times):
        raise ScanError(f"{where}: {len(angle_times)} times for {len(angles)} angles")
    inside = np.flatnonzero((clock >= angle_times.min()) & (clock <= angle_times.max()))
    if len(inside) < 3:
        raise ScanError(
            f"{where}: angles were read from {angle_times.min():.10g} to {angle_times.max():.10g}, frames taken from "
            f"{clock.min():.10g} to {clock.max():.10g}: not one clock"
        )
    order = np.argsort(angle_times, kind="stable")
    values = np.interp(clock[inside], angle_times[order], np.unwrap(angles[order]))
    lost = len(clock) - len(inside)
    told = f"{lost} of {len(clock)} frames lie outside the times of the angles and are left out" if lost else None
    return Matched(None if not lost else inside, values, told)
