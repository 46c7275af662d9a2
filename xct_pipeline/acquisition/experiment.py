"""The scans of a series against each other: clocks, order, energy, pixel, exposure, shape, and content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from xct_pipeline.scan import Scan, ScanError


def one_clock(scans: Sequence[Scan]) -> list[Scan]:
    """Give times without a zone that of the other scans, with a warning; times of one kind are left alone."""
    zones = [moment.tzinfo for scan in scans for moment in (scan.start, scan.end) if moment is not None]
    if not any(zone is None for zone in zones) or all(zone is None for zone in zones):
        return list(scans)
    zone = next(zone for zone in zones if zone is not None)

    def aware(moment: datetime | None) -> datetime | None:
        return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=zone)

    result = []
    for scan in scans:
        changed = replace(scan, start=aware(scan.start), end=aware(scan.end))
        if (changed.start, changed.end) != (scan.start, scan.end):
            text = f"its times state no zone, those of other scans do: taken as {zone}, check the time axis"
            changed = replace(changed, warnings=(*scan.warnings, text))
        result.append(changed)
    return result


def compare(scans: Sequence[Scan], *, energies_differ: bool = False) -> list[list[str]]:
    """Say for each scan in which way it is not of one experiment with those before it.

    Parameters
    ----------
    scans : sequence of Scan
        In the order of the configuration, times on one clock.
    energies_differ : bool
        Scans at several energies are meant.

    Returns
    -------
    list of list of str
        One list for each scan.
    """
    told: list[list[str]] = [[] for _ in scans]
    seen: dict[str, str] = {}
    latest: Scan | None = None
    for k, scan in enumerate(scans):
        first = scans[0]
        told[k] += _unlike(scan, first, energies_differ)
        if scan.start is not None:
            if latest is not None and latest.start is not None and scan.start < latest.start:
                told[k].append(
                    f"it was taken before {latest.name} ({scan.start.isoformat()} before {latest.start.isoformat()}) "
                    "but is listed after it: list scans in the order of time"
                )
            if latest is None or latest.start is None or scan.start >= latest.start:
                latest = scan
        if len(scans) > 1:
            digest = content(scan)
            if digest in seen:
                told[k].append(f"it holds the same frames as {seen[digest]}: one file twice?")
            seen.setdefault(digest, scan.name)
    return told


def _unlike(scan: Scan, first: Scan, energies_differ: bool) -> list[str]:
    told = []
    for name, unit, tolerance in (("pixel_size_um", "um", 1e-3), ("energy_keV", "keV", 2e-3)):
        mine, other = getattr(scan, name), getattr(first, name)
        if mine is None or other is None or (name == "energy_keV" and energies_differ):
            continue
        if abs(mine - other) > tolerance * other:
            what = "pixel" if unit == "um" else "photon energy"
            told.append(f"its {what} is {mine:g} {unit}, that of {first.name} {other:g} {unit}: not one experiment")
    mine, other = (_exposure(each) for each in (scan, first))
    if mine and other and abs(mine - other) > 0.01 * other:
        told.append(f"its projections were exposed for {mine:g} s, those of {first.name} for {other:g} s")
    if scan.shape[1:] != first.shape[1:]:
        told.append(
            f"its frames are {scan.shape[1]} x {scan.shape[2]}, those of {first.name} {first.shape[1]} x "
            f"{first.shape[2]} (rows x columns)"
        )
    return told


def _exposure(scan: Scan) -> float | None:
    times = scan.exposure_s.get("projections")
    return None if times is None or not len(times) else float(np.median(times))


def content(scan: Scan) -> str:
    """Return a digest of a few rows of three projections: the same for files of the same frames."""
    n, rows, _ = scan.shape
    digest = hashlib.sha256(repr(scan.shape).encode())
    try:
        for k in sorted({0, n // 2, n - 1}):
            part = scan.projections.read(slice(k, k + 1), slice(rows // 2, rows // 2 + 4))
            digest.update(np.ascontiguousarray(part).tobytes())
    except ScanError:
        digest.update(str(scan.files).encode())
    return digest.hexdigest()
