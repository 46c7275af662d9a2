"""The commented configuration that ``xct init`` writes, filled in with what the files know."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import tomlkit

from xct_pipeline.acquisition.stage import open_as_found
from xct_pipeline.scan import Scan

_TAIL = """
# [correction.phase]                 # for scans with propagation fringes
# method = "paganin"
# delta_beta = 500.0
# distance_mm = 100.0

[correction.zinger]
method = "median"                    # or "none"
threshold = 0.2                      # share of the local median that a hit exceeds it by

[correction.stripe]
method = "defects"                   # safe for cells concentric with the axis; see docs/stripes.md for the others

[reconstruction]
center = "auto"                      # or "common", a detector column, or one per scan
filter = "ram-lak"                   # shepp-logan, cosine, hann, hamming, butterworth
"""


def write_template(paths: Sequence[Path], folder: Path) -> str:
    """Return the text of a configuration for some raw scans.

    Parameters
    ----------
    paths : sequence of Path
        Raw scans in time order.
    folder : Path
        Where the configuration will lie; paths are written relative to it.

    Raises
    ------
    ScanError
        A scan cannot be opened.
    """
    scans = [open_as_found(path) for path in paths]
    document = tomlkit.document()
    document.add(tomlkit.comment("Check with: xct check    Run with: xct run"))
    document.add("output", _commented("store.zarr", "the results, one folder"))
    acquisition = tomlkit.table()
    names = tomlkit.array()
    for path in paths:
        names.append(Path(os.path.relpath(path, folder)).as_posix())
    acquisition.add("scans", names.multiline(len(paths) > 2))
    acquisition.add(tomlkit.comment("in time order; globs are allowed"))
    _fill(acquisition, "pixel_size_um", [scan.pixel_size_um for scan in scans], "micrometre per pixel in the sample")
    _fill(acquisition, "energy_keV", [scan.energy_keV for scan in scans], "photon energy")
    for scan in scans:
        acquisition.add(tomlkit.comment(_facts(scan)))
    if not any(scan.flats for scan in scans):
        acquisition.add(tomlkit.comment('no flats in these files: flats = ["flat.nxs"] or flats = "none"'))
    if not any(scan.darks for scan in scans):
        acquisition.add(tomlkit.comment('no darks in these files: darks = ["dark.nxs"] or darks = "none"'))
    document.add("acquisition", acquisition)
    return tomlkit.dumps(document) + _TAIL


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


def _facts(scan: Scan) -> str:
    angles, rows, columns = scan.shape
    flats = scan.flats.shape[0] if scan.flats else 0
    darks = scan.darks.shape[0] if scan.darks else 0
    return f"{scan.name}: {angles} projections of {rows} x {columns}, {flats} flats, {darks} darks"
