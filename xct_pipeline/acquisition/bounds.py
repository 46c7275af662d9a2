"""Bounds on what a scan states: angles, pixel size and energy, with the unit named that would explain a wrong one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from xct_pipeline.scan import Scan, ScanError

Angles = npt.NDArray[np.float64]
PIXEL_UM = (0.005, 500.0)  # of a tomography that this package knows how to treat
ENERGY_KEV = (3.0, 500.0)
SWEEP = np.radians(150.0)


def angles_in_unit(scan: Scan, unit: Literal["degree", "radian"] | None) -> Scan:
    """Return a scan whose angles are plausible, in the unit that the user says they were written in.

    Parameters
    ----------
    scan : Scan
    unit : {'degree', 'radian'} or None
        What ``acquisition.angle_unit`` says; None believes the file.

    Raises
    ------
    ScanError
        No unit is given, and the span is that of half a turn or a turn in the other unit.
    """
    likely = likely_unit(scan.angles)
    if unit is None:
        if likely is None:
            return scan
        span = float(np.ptp(scan.angles))
        shown = np.degrees(span) if likely == "radian" else span
        other = f"{shown:.4g} {'degrees' if likely == 'radian' else 'rad'}"
        turns = f"are {span / (2 * np.pi):.3g} turns"
        as_likely = shown / (2 * np.pi) if likely == "radian" else shown / 360
        whole = "half a turn" if as_likely < 0.75 else "a turn"
        raise ScanError(
            f"{scan.files[0] if scan.files else scan.name}: the angles span {other}, which {turns}; as {likely}s it is "
            f'{whole}: correct the unit in the file, or set angle_unit = "{likely}" under [acquisition] '
            f'(angle_unit = "{"degree" if likely == "radian" else "radian"}" keeps them as they are)'
        )
    if likely != unit:
        return scan
    angles = np.radians(scan.angles) if unit == "degree" else np.degrees(scan.angles)
    kept = tuple(text for text in scan.warnings if not text.startswith("the angles cover"))
    return replace(scan, angles=angles, warnings=kept)


def require_square(scan: Scan) -> None:
    """Refuse pixels whose height is not their width: a volume has one edge for all its axes.

    Raises
    ------
    ScanError
        The file states both, and they differ.
    """
    height = scan.metadata.get("pixel_height_um")
    if height is None or scan.pixel_size_um is None:
        return
    raise ScanError(
        f"{scan.files[0] if scan.files else scan.name}: pixels are {scan.pixel_size_um:g} um wide and {height:g} um "
        "high, but voxels are cubes: resample the frames to square pixels, or, where the file is wrong, set "
        f"pixel_size_um = {scan.pixel_size_um:g} under [acquisition]"
    )


def likely_unit(angles: Angles) -> Literal["degree", "radian"] | None:
    """Return the unit in which a span that is none of a scan would be half a turn or a turn; None if it is one."""
    span = float(np.ptp(angles)) if len(angles) > 2 else 0.0
    if len(angles) < 20:
        return None
    short = np.radians(span)  # had the numbers been taken for degrees that were radians
    for turn in (np.pi, 2 * np.pi):
        if 0.94 * turn <= np.degrees(span) <= 1.02 * turn:
            return "radian"
        if 0.94 * turn <= short <= 1.02 * turn:
            return "degree"
    return None


def radians_without_unit(values: Angles) -> bool:
    """Tell whether numbers without a unit span half a turn or a turn as radians."""
    return likely_unit(np.radians(values)) == "radian"


def sweeps(angles: Angles) -> list[tuple[int, int]]:
    """Return the sweeps of at least 150 degrees in one direction, first and last projection, where they repeat.

    Returns
    -------
    list of (int, int)
        Empty for a scan that goes once through at most a turn, or whose angles are spread otherwise.
    """
    if len(angles) < 8 or np.median(np.abs(np.diff(angles))) > np.radians(20):
        return []
    path = np.unwrap(angles)
    found: list[tuple[int, int]] = []
    first = turning = 0
    direction = 0.0
    for k in range(1, len(path)):
        if direction == 0.0:
            if abs(path[k] - path[first]) > np.radians(5):
                direction, turning = float(np.sign(path[k] - path[first])), k
        elif direction * (path[k] - path[turning]) > 0:
            turning = k
        elif direction * (path[turning] - path[k]) > np.radians(20):
            found.append((first, turning))
            first, turning, direction = turning, k, -direction
    found.append((first, len(path) - 1))
    whole = [(a, b) for a, b in found if abs(path[b] - path[a]) >= SWEEP]
    if len(whole) == 1 and abs(path[whole[0][1]] - path[whole[0][0]]) > 1.25 * 2 * np.pi:
        return whole
    return whole if len(whole) > 1 and not _interlaced(angles, whole) else []


def _interlaced(angles: Angles, passes: list[tuple[int, int]]) -> bool:
    """Tell whether passes in one direction, with rewinds between, share the angles of one rotation among them."""
    taken = [angles[b] - angles[a] for a, b in passes if b - a > 3]
    if not (all(way > 0 for way in taken) or all(way < 0 for way in taken)):
        return False
    apart = np.sort(np.diff(np.sort(np.mod(angles, 2 * np.pi))))[:-1]  # without the half turn that may be left out
    return bool(np.quantile(apart, 0.25) > 0.5 * np.mean(apart))


def plausible(scan: Scan) -> list[str]:
    """Say what of a scan's pixel size, energy and rotation is hardly as the file states it."""
    told = []
    pixel, energy = scan.pixel_size_um, scan.energy_keV
    if pixel is not None and not PIXEL_UM[0] <= pixel <= PIXEL_UM[1]:
        told.append(f"a pixel of {pixel:g} um is hardly one of a tomography{_unit_hint(pixel, 'um', PIXEL_UM)}")
    if energy is not None and not ENERGY_KEV[0] <= energy <= ENERGY_KEV[1]:
        told.append(f"photons of {energy:g} keV hardly pass a sample{_unit_hint(energy, 'keV', ENERGY_KEV)}")
    told += _angles_in_rarer_unit(scan.angles)
    repeated = sweeps(scan.angles)
    if len(repeated) == 1:
        turns = float(np.ptp(np.unwrap(scan.angles))) / (2 * np.pi)
        told.append(f"the stage turns {turns:.3g} times in this scan: all are taken as one volume")
    elif repeated:
        spans = ", ".join(f"{a} to {b}" for a, b in repeated[:3])
        told.append(
            f"the stage goes {len(repeated)} times through half a turn or more (projections {spans}"
            f"{' ...' if len(repeated) > 3 else ''}): all are taken as one volume; what changed between them is mixed"
        )
    return told


def _angles_in_rarer_unit(angles: Angles) -> list[str]:
    span = float(np.degrees(np.ptp(angles))) if len(angles) >= 20 else 0.0
    for unit, size in (("milliradian", np.degrees(1e-3)), ("turns", 360.0)):
        for turn, words in ((180.0, "half a turn"), (360.0, "a turn")):
            if 0.94 * turn <= span * size <= 1.02 * turn:
                return [f"the angles span {span:.4g} degrees, in {unit} {words}: is their unit right?"]
    return []


def _unit_hint(value: float, unit: str, bounds: tuple[float, float]) -> str:
    larger, smaller = ("mm", "nm") if unit == "um" else ("MeV", "eV")
    low, high = bounds
    if value > high and low <= value / 1e3 <= high:
        return f": were {value / 1e3:g} {unit} meant ({value:g} {smaller})?"
    if value < low and low <= value * 1e3 <= high:
        return f": were {value * 1e3:g} {unit} meant ({value:g} {larger})?"
    return ""
