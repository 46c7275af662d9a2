"""What every scan has to fulfil, whatever file it came from, and its facts in plain numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.hdf5 import one_line
from xct_pipeline.acquisition.holes import scale_error
from xct_pipeline.scan import Scan, ScanError


def checked(scan: Scan, *, without_flats: bool = False, without_darks: bool = False) -> Scan:
    """Refuse a scan that cannot be reconstructed; add warnings about its angles.

    Parameters
    ----------
    scan : Scan
        As a reader returns it.
    without_flats, without_darks : bool
        Go without, even where there are some.

    Returns
    -------
    Scan
        A copy, without what is to be gone without.

    Raises
    ------
    ScanError
        No projections, flats or darks; angles that are too few, not finite or all equal; frames of
        different size; a pixel size or energy that is not positive; first or last frames that cannot be read.
    """
    where = str(scan.files[0]) if scan.files else scan.name
    n, height, width = scan.shape
    if n == 0:
        raise ScanError(f"{where}: no projections (no frame has image_key 0)")
    if len(scan.angles) != n:
        raise ScanError(f"{where}: {len(scan.angles)} angles for {n} projections")
    if not np.all(np.isfinite(scan.angles)):
        bad = np.flatnonzero(~np.isfinite(scan.angles))
        raise ScanError(
            f"{where}: {len(bad)} angles are not numbers, the first is that of projection {bad[0]}: "
            "mark these frames 3, invalid, in image_key"
        )
    if n < 3:
        raise ScanError(f"{where}: {n} projections: at least three angles are needed")
    if np.ptp(scan.angles) == 0:
        raise ScanError(f"{where}: all {n} angles are {np.rad2deg(scan.angles[0]):g} degrees")
    if without_flats:
        scan = replace(scan, flats=None, flat_position=np.zeros(0))
    elif scan.flats is None or scan.flats.shape[0] == 0:
        raise ScanError(f"{where}: {_absent('flat')}")
    if without_darks:
        scan = replace(scan, darks=None, dark_position=np.zeros(0))
    elif scan.darks is None or scan.darks.shape[0] == 0:
        raise ScanError(f"{where}: {_absent('dark')}")
    for kind, frames in (("flats", scan.flats), ("darks", scan.darks)):
        if frames is not None and frames.shape[1:] != (height, width):
            raise ScanError(f"{where}: {kind} are {frames.shape[1:]}, projections {(height, width)}")
    for frames in (scan.projections, scan.flats, scan.darks):
        if frames is not None:  # a missing decompressor or a torn chunk shows here, not hours later
            frames.read(slice(0, 1), slice(0, 1), slice(0, 1))
            frames.read(slice(-1, None), slice(-1, None), slice(0, 1))
    for name, value in (("pixel_size_um", scan.pixel_size_um), ("energy_keV", scan.energy_keV)):
        if value is not None and not 0 < value < np.inf:
            raise ScanError(f"{where}: {name} = {value}: expected a positive number")
    warnings = list(scan.warnings)
    covered = np.rad2deg(covered_range(scan.angles))
    if covered < 170:
        warnings.append(
            f"the angles cover {covered:.1f} degrees, less than 170: expect limited-angle artefacts; the mean of a "
            f"slice is kept, the scale of a part of it is off by {100 * scale_error(scan.angles):.2g} % (standard "
            f"error, part of sigma of the mass), and details may be off by {100 * (180 - covered) / 180:.0f} %"
        )
    warnings = [one_line(w) for w in dict.fromkeys(warnings)]
    return replace(scan, warnings=tuple(warnings))


def _absent(kind: str) -> str:
    return (
        f'no {kind}s: name files of {kind}s by {kind}s = [...], or write {kind}s = "none" under [acquisition] '
        "to go without"
    )


def covered_range(angles: npt.NDArray[np.float64]) -> float:
    """Angular range that projections cover, radians.

    At most what was travelled, and at most 180 degrees less the widest gap that angles leave modulo 180
    degrees (beyond the usual step): so wrapped, descending and interlaced angles are measured alike.
    """
    if len(angles) < 2:
        return 0.0
    travelled = float(np.ptp(angles))
    folded = np.sort(np.mod(angles, np.pi))
    gaps = np.diff(np.append(folded, folded[0] + np.pi))
    steps = gaps[gaps > 1e-6]
    return min(travelled, float(np.pi - gaps.max() + np.median(steps))) if len(steps) else 0.0


def frame_counts(scan: Scan | None) -> dict[str, int]:
    """Return how many projections, flats and darks a scan has; kinds that it goes without are left out."""
    kinds = {} if scan is None else {kind: getattr(scan, kind) for kind in ("projections", "flats", "darks")}
    return {kind: int(frames.shape[0]) for kind, frames in kinds.items() if frames is not None}


def scan_facts(scan: Scan) -> dict[str, object]:
    """Plain facts of a scan, for people and for JSON.

    Returns
    -------
    dict
        Numbers, strings, lists and None only. Angles in degrees.
    """
    degrees = np.rad2deg(scan.angles)
    steps = np.diff(degrees)
    n, height, width = scan.shape
    nbytes = n * height * width * scan.projections.dtype.itemsize
    return {
        "name": scan.name,
        "files": [str(path) for path in scan.files[:3]],
        "file_count": len(scan.files),
        "projections": n,
        "rows": height,
        "columns": width,
        "dtype": str(scan.projections.dtype),
        "gigabytes": round(nbytes / 1e9, 3),
        "chunk_rows": scan.projections.chunk_rows,
        "flats": scan.flats.shape[0] if scan.flats is not None else 0,
        "flats_before": int(np.count_nonzero(scan.flat_position <= 0)),
        "flats_after": int(np.count_nonzero(scan.flat_position >= n)),
        "darks": scan.darks.shape[0] if scan.darks is not None else 0,
        "angle_first_deg": round(float(degrees[0]), 6),
        "angle_last_deg": round(float(degrees[-1]), 6),
        "angle_step_deg": round(float(np.median(steps)), 6) if len(steps) else None,
        "angle_range_deg": round(float(np.rad2deg(covered_range(scan.angles))), 4),
        "pixel_size_um": scan.pixel_size_um,
        "energy_keV": scan.energy_keV,
        "distance_mm": scan.distance_mm,
        "saturation": scan.saturation,
        "start": scan.start.isoformat() if scan.start else None,
        "end": scan.end.isoformat() if scan.end else None,
        "warnings": list(scan.warnings),
        **{key: str(value) for key, value in scan.metadata.items()},
    }
