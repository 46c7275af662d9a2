"""Raw scans as napari layers: projections, flats, darks and sinograms, read frame by frame or row by row. No Qt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.config import Config
from xct_pipeline.scan import Frames, Scan, ScanError
from xct_pipeline.viewer import findings, ome

if TYPE_CHECKING:
    from napari import Viewer


Layer = tuple[Any, dict[str, Any], str]
AXES = ("angle", "row", "column")
SLAB_BYTES = 512_000_000  # most that is read for one sinogram


class FrameBox:
    """Frames as an array that dask can slice."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.shape, self.dtype, self.ndim = frames.shape, frames.dtype, 3

    def __getitem__(self, key: tuple[slice, slice, slice]) -> ome.Array:
        """Read a box of slices."""
        return self.frames.read(*key)


def file_layers(path: Path) -> list[Layer]:
    """Return the layers of a raw file; flats and darks may be missing.

    Raises
    ------
    ScanError
        It is no scan.
    """
    from xct_pipeline.acquisition import open_scan

    lacking = [(False, False), (False, True), (True, False), (True, True)]
    for flats, darks in lacking:
        try:
            scan = open_scan(path, without_flats=flats, without_darks=darks)
            return [*scan_layers(scan), *findings.layers_of([scan])]
        except ScanError:
            if (flats, darks) == lacking[-1]:
                raise
    raise AssertionError


def config_layers(config: Config) -> list[Layer]:
    """Return the layers of the scans of a configuration; what cannot be opened is told and left out.

    Raises
    ------
    ScanError
        No scan can be opened.
    """
    from xct_pipeline.acquisition.steps import open_scans

    opened = open_scans(config)
    for item in opened:
        if item.problem:
            ome.tell(item.problem)
    scans = [item.scan for item in opened if item.scan is not None]
    if not scans:
        raise ScanError(opened[0].problem or f"{opened[0].name} starts from a volume: run it, then view the store")
    layers = [layer for scan in scans for layer in scan_layers(scan)]
    layers += findings.layers_of(scans, config)
    for _, keywords, _ in layers:
        keywords["visible"] &= keywords["metadata"]["xct"]["scan"] == scans[0].name
    return layers


def scan_layers(scan: Scan) -> list[Layer]:
    """Return the layers of a scan: projections, the same as sinograms, flats and darks.

    All have the axes (angle, row, column), in micrometre where the pixel size is known. Sinograms are read row by row;
    see `sinogram_view`.
    """
    step, unit = (scan.pixel_size_um, "um") if scan.pixel_size_um else (1.0, "pixel")
    notes = {"angles_deg": np.rad2deg(scan.angles), "warnings": list(scan.warnings), **dict(scan.metadata)}
    whole = slice(None)
    middle = scan.projections.read(slice(len(scan.angles) // 2, len(scan.angles) // 2 + 1))
    limits = ome.contrast(middle[np.isfinite(middle)] if middle.dtype.kind == "f" else middle)
    layers: list[Layer] = []
    sources = {"projections": scan.projections, "sinograms": scan.projections, "flats": scan.flats, "darks": scan.darks}
    for kind, frames in sources.items():
        if frames is None or 0 in frames.shape:
            continue
        by_row = kind == "sinograms"
        chunks = (frames.shape[0], _rows_together(frames), frames.shape[2]) if by_row else (1, *frames.shape[1:])
        shown = limits
        if kind in ("flats", "darks"):
            shown = ome.contrast(frames.read(slice(0, 1), whole))
        keywords = {
            "name": f"{scan.name} {kind}",
            "axis_labels": AXES,
            "units": ("pixel", unit, unit),
            "scale": (1.0, step, step),
            "contrast_limits": shown,
            "colormap": "gray",
            "visible": kind == "projections",
            "multiscale": False,
            "metadata": {"xct": {"kind": kind, "scan": scan.name, "unit": "counts", **notes}},
        }
        layers.append((_lazy(frames, f"{scan.name} {kind}", chunks), keywords, "image"))
    return layers


def _rows_together(frames: Frames) -> int:
    """Return the rows of a block of sinograms: those that are decompressed together, unless that is too much."""
    row = frames.shape[0] * frames.shape[2] * frames.dtype.itemsize
    return frames.chunk_rows if row * frames.chunk_rows <= SLAB_BYTES else max(1, SLAB_BYTES // row)


def _lazy(frames: Frames, name: str, chunks: tuple[int, ...]) -> Any:
    import dask.array as da

    box = ome.Guarded(FrameBox(frames), name)
    fitting = tuple(min(c, n) for c, n in zip(chunks, frames.shape, strict=True))
    return da.from_array(box, chunks=fitting, name=False, meta=np.empty((0, 0, 0), frames.dtype))


def sinogram_view(viewer: Viewer, sinograms: bool) -> None:
    """Show sinograms (a slider over rows) or projections (a slider over angles) of the raw scans in a viewer.

    Raises
    ------
    ScanError
        There is no raw scan in the viewer.
    """
    raw = [layer for layer in viewer.layers if "scan" in layer.metadata.get("xct", {})]
    if not raw:
        raise ScanError("no raw scan is open: open one with xct view SCAN")
    visible = [layer.metadata["xct"]["scan"] for layer in raw if layer.visible]
    scan = (visible or [raw[0].metadata["xct"]["scan"]])[0]
    wanted = "sinograms" if sinograms else "projections"
    for layer in raw:
        layer.visible = layer.metadata["xct"]["kind"] == wanted and layer.metadata["xct"]["scan"] == scan
    *lead, angle, row, column = range(viewer.dims.ndim)
    viewer.dims.order = (*lead, row, angle, column) if sinograms else (*lead, angle, row, column)
