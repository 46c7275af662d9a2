"""Projections that deviate from the others, marked on raw scans in napari. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xct_pipeline.acquisition.levels import Finding
from xct_pipeline.acquisition.steps import Frame
from xct_pipeline.config import Config, Correction
from xct_pipeline.correction.steps.look import WHOLE_BYTES, look_at
from xct_pipeline.scan import Scan
from xct_pipeline.store.store import Store

MOST_BYTES = 4 * WHOLE_BYTES  # of all scans together that are judged while a window opens
COLORS = {True: "red", False: "orange"}


def layers_of(scans: Sequence[Scan], config: Config | None = None) -> list[tuple[Any, dict[str, Any], str]]:
    """Return a layer of points for each scan with projections that deviate.

    What a run has stored is shown; without a run, small scans are judged by the functions of a run.

    Parameters
    ----------
    scans : sequence of Scan
    config : Config, optional
        Names the store; without it there is none.
    """
    stored = {} if config is None else _stored(config)
    layers, left = [], MOST_BYTES
    for scan in scans:
        size = float(np.prod(scan.shape)) * scan.projections.dtype.itemsize
        found = stored.get(scan.name)
        if found is None and size <= min(WHOLE_BYTES, left):
            left -= size
            found = _judged(scan, Correction() if config is None else config.correction)
        if found:
            layers.append(_points(scan, found))
    return layers


def _stored(config: Config) -> dict[str, list[Finding]]:
    """Return what a run found of the projections of each scan that it judged."""
    if not (config.store_path / "tables" / "frames.csv").is_file():
        return {}
    table = Store(config.store_path).read_table("frames")
    found: dict[str, list[Finding]] = {str(name): [] for name in table["scan"]}
    runs = table[(table["kind"] == "projections") & table["left_out"].notna()]
    columns = (runs[name] for name in ("scan", "first", "last", "finding", "left_out"))
    for scan, first, last, finding, left_out in zip(*columns, strict=True):
        run = tuple(range(int(first), int(last) + 1))
        found[str(scan)].append(Finding("projections", run, str(finding), str(left_out) == "True"))
    return found


def _judged(scan: Scan, settings: Correction) -> list[Finding]:
    frame = Frame(*scan.shape, first_column=0, binning=1)
    try:
        look = look_at(settings, scan, frame, most_left_out=1.0)
    except (ValueError, OSError):
        return []  # a scan that a run would refuse is shown all the same: `xct check` says why
    return [found for found in look.findings if found.kind == "projections"]


def _points(scan: Scan, findings: Sequence[Finding]) -> tuple[Any, dict[str, Any], str]:
    """Return points in the first row of each such frame, with what was seen of it: they show while that frame does."""
    told = [(k, found) for found in findings for k in found.frames]
    step, unit = (scan.pixel_size_um, "um") if scan.pixel_size_um else (1.0, "pixel")
    keywords = {
        "name": f"{scan.name} frames that deviate",
        "axis_labels": ("angle", "row", "column"),
        "units": ("pixel", unit, unit),
        "scale": (1.0, step, step),
        "size": max(3, scan.shape[2] // 40),
        "face_color": [COLORS[found.left_out] for _, found in told],
        "border_width": 0,
        "features": {"finding": [found.what + ": left out" * found.left_out for _, found in told]},
        "text": {"string": "{finding}", "color": "yellow", "anchor": "upper_left", "size": 10},
        "visible": True,
        "metadata": {"xct": {"kind": "findings", "scan": scan.name}},
    }
    return np.array([(k, 0.0, 0.0) for k, _ in told]), keywords, "points"
