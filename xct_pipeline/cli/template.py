"""The commented configuration that ``xct init`` writes, filled in with what the files know."""

from __future__ import annotations

import glob
import os
import tomllib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import tomlkit

from xct_pipeline.acquisition.hdf5 import one_line
from xct_pipeline.acquisition.layout.found import Folder
from xct_pipeline.acquisition.steps import open_as_found, open_scans
from xct_pipeline.cli.layouts import acquisition_text
from xct_pipeline.config.file import parse_config
from xct_pipeline.scan import Scan, ScanError

_PHASE = """
# [correction.phase]                   # for scans with propagation fringes
# method = "paganin"
# delta_beta = 500.0                   # of the material whose edges matter; too large blurs, too small leaves fringes
# {distance:<34} # sample to detector{source}
"""
_RECONSTRUCTION = """
[correction.zinger]
method = "median"                    # or "none"
threshold = 0.2                      # share of the local median that a hit exceeds it by

[correction.stripe]
method = "defects"                   # safe for cells concentric with the axis; see docs/stripes.md for the others

[reconstruction]
center = "auto"                      # or "common", a detector column, or one per scan
filter = "ram-lak"                   # shepp-logan, cosine, hann, hamming, butterworth
{half}"""
_HALF = """# half_acquisition = "right"         # over a full turn: where the axis is near an edge of the detector
"""
_ONE = """
# Registration and mass need a series: name further scans above, or start again with xct init SCAN SCAN ...
"""
_SERIES = """
[registration]                       # moves every scan once, rigidly, into the frame of one of them
method = "rigid"
reference = 0                        # position or name of the scan that stays where it is
# mask = {{ min_attenuation = 4.0 }}   # 1/cm: match on what never changes (a ceramic); left out, it is found

[segmentation]                       # materials for voids, contact and thickness, and where the anode is
method = "watershed"
classes = 3                          # by multi-Otsu; or thresholds = [0.15, 2.0] in 1/cm, half-way between materials
# names = ["gas", "metal", "ceramic"] # from dark to bright
# ceramic = "ceramic"                # the material whose surface is the interface; left out, the brightest

# [variation]                        # change of attenuation, and of mass where a closure says what is assumed
# species = "Na"
# closure = "na_only"                # see docs/variation.md; without one no mass is written
# region = "metal"                   # the anode as a whole, one of the names above; or a part of it, in voxels of the
#                                    # reference ({rows} x {columns} x {columns}), two or three off its faces:
#                                    # {{ cylinder = {{ z = [{first}, {stop}], radius = {radius:.1f} }} }}
{energy}
# [electrochemistry]                 # the balance against the charge; the log's time 0 is the first scan's start
# log = "cycler.csv"                 # CSV, .mpt, .mpr, .nda, .dta, .xlsx ...; columns are found by name and unit,
# time = "time_s"                    # or named: time or absolute_time, charge or current, voltage, state
# charge = "charge_C"                # or current = "current_A"
# voltage = "voltage_V"
# time_zone = "Europe/Berlin"        # of dates in the log that name none
# charge_sign = 1                    # -1 where the log counts charge as negative when the species leaves
# [[electrochemistry.impedance]]     # once for each file of spectra
# file = "impedance_00.csv"
# scan = 0                           # or time_s on the log's clock, or date; left out, what the file says
"""
_NO_ENERGY = """# energy_keV = 0.0                   # the files do not say it; mass needs it
"""


def write_template(paths: Sequence[Path], folder: Path, found: Folder | None = None) -> str:
    """Return the text of a configuration for some raw scans.

    Parameters
    ----------
    paths : sequence of Path
        Raw scans in time order.
    folder : Path
        Where the configuration will lie; paths are written relative to it.
    found : Folder, optional
        What was found in a folder; then `paths` are not opened.

    Raises
    ------
    ScanError
        A scan cannot be opened.
    """
    if found is not None:
        return _of_folder(found, folder)
    scans = [open_as_found(path) for path in paths]
    document = tomlkit.document()
    document.add(tomlkit.comment("Check with: xct check    Run with: xct run"))
    document.add("output", _commented("store.zarr", "the results, one folder"))
    acquisition = tomlkit.table()
    names = tomlkit.array()
    for path in paths:
        names.append(glob.escape(Path(os.path.relpath(path, folder)).as_posix()))
    acquisition.add("scans", names.multiline(len(paths) > 2))
    acquisition.add(tomlkit.comment("in time order; globs are allowed"))
    _fill(acquisition, "pixel_size_um", [scan.pixel_size_um for scan in scans], "micrometre per pixel in the sample")
    _fill(acquisition, "energy_keV", [scan.energy_keV for scan in scans], "photon energy")
    for scan in scans:
        acquisition.add(tomlkit.comment(_facts(scan, scans[0].start)))
    if not any(scan.flats for scan in scans):
        acquisition.add(tomlkit.comment('no flats in these files: flats = ["flat.nxs"] or flats = "none"'))
    if not any(scan.darks for scan in scans):
        acquisition.add(tomlkit.comment('no darks in these files: darks = ["dark.nxs"] or darks = "none"'))
    document.add("acquisition", acquisition)
    return tomlkit.dumps(document) + _stages(scans)


def _of_folder(found: Folder, folder: Path) -> str:
    """Return the text of a configuration for the scans that were found in a folder."""
    text = acquisition_text(found, folder)
    head = 'output = "store.zarr" # the results, one folder\n\n'
    config = parse_config(tomllib.loads(head + text), folder)
    opened = open_scans(config)
    scans = [item.scan for item in opened if item.scan is not None]
    if not scans:
        raise ScanError("; ".join(item.problem or "" for item in opened[:3]))
    facts = [f"# {_facts(scan, scans[0].start)}" for scan in scans]
    facts += [f"# {item.problem}" for item in opened if item.problem]
    for key, values in (
        ("pixel_size_um", [s.pixel_size_um for s in scans]),
        ("energy_keV", [s.energy_keV for s in scans]),
    ):
        known = sorted({f"{value:g}" for value in values if value is not None})
        facts.append(
            f"# {key} = {known[0] if len(known) == 1 else 0.0}    # {', '.join(known) or 'the files do not say it'}"
        )
    general, *tables = text.split("\n[[", 1)
    notes = "\n".join(one_line(line) for line in facts)
    rest = "".join(f"\n[[{table}" for table in tables)
    stages = _stages(scans)
    if found.logs:
        log = Path(os.path.relpath(found.logs[0], folder)).as_posix()
        stages = stages.replace('# log = "cycler.csv"  ', f'# log = "{log}"  ')
    return f"# Check with: xct check    Run with: xct run\n{head}{general.rstrip()}\n{notes}\n{rest}{stages}"


def _stages(scans: Sequence[Scan]) -> str:
    """Return the sections behind the acquisition; what the files cannot know is commented out."""
    distances = {scan.distance_mm for scan in scans if scan.distance_mm is not None}
    known = len(distances) == 1
    text = _PHASE.format(
        distance=f"distance_mm = {distances.pop() if known else 100.0:g}", source=", from the files" if known else ""
    )
    turn = max(np.ptp(scan.angles) for scan in scans)
    text += _RECONSTRUCTION.format(half=_HALF if turn > np.radians(355) else "")
    if len(scans) == 1:
        return text + _ONE
    _, rows, columns = scans[0].shape
    energy = "" if all(scan.energy_keV for scan in scans) else _NO_ENERGY
    return text + _SERIES.format(
        first=rows // 2, stop=rows * 3 // 4, radius=columns * 0.3, rows=rows, columns=columns, energy=energy
    )


def _commented(value: object, comment: str) -> tomlkit.items.Item:
    return tomlkit.item(value).comment(comment)


def _fill(table: tomlkit.items.Table, key: str, values: Sequence[float | None], what: str) -> None:
    known = sorted({round(value, 9) for value in values if value is not None})
    if len(known) == 1 and None not in values:
        table.add(tomlkit.comment(f"{key} = {known[0]:g}    # {what}; known from the files, give it to override"))
    elif known:
        table.add(
            tomlkit.comment(f"{key}: the files say {', '.join(f'{k:g}' for k in known)}; give it to override all")
        )
    else:
        table.add(tomlkit.comment(f"{key} = 0.0    # {what}; the files do not say it"))


def _facts(scan: Scan, first: datetime | None) -> str:
    angles, rows, columns = scan.shape
    flats = scan.flats.shape[0] if scan.flats else 0
    darks = scan.darks.shape[0] if scan.darks else 0
    low, high = np.degrees([scan.angles.min(), scan.angles.max()])
    text = f"{scan.name}: {angles} projections of {rows} x {columns}, {flats} flats, {darks} darks"
    text += f", {high - low:.4g} degrees"
    if scan.start is not None:
        when = scan.start.isoformat(sep=" ", timespec="seconds")
        later = None if first is None else _hours(scan.start, first)
        text += f", {when}" + (f" (+{later:.3g} h)" if later else "")
    return text


def _hours(start: datetime, first: datetime) -> float | None:
    """Return hours between two times, None where only one of them names its zone."""
    if (start.tzinfo is None) != (first.tzinfo is None):
        return None
    return (start - first).total_seconds() / 3600
