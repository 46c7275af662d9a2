"""What is estimated of a scan's detector and beam before its passes: flats, darks and the air in each projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, pairwise
from typing import Any, Literal

import numpy as np

from xct_pipeline.acquisition.checks import check_flats
from xct_pipeline.acquisition.steps import Frame, RawSource, scan_identity
from xct_pipeline.config import Air, Correction
from xct_pipeline.correction import air, flatfield
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import estimated
from xct_pipeline.engine.resources import Need
from xct_pipeline.engine.steps import Estimate, Steps
from xct_pipeline.scan import Frames, Scan
from xct_pipeline.store.store import Store

MARGIN_BYTES = 24e6  # of the rows that the margin of air is looked for in
LEVEL_BYTES = 128e6  # of the margin's pixels that the level of air is taken from
FIELDS_S, FIELDS_VALUE_S = 1.5, 5e-7  # CPU-seconds of a scan, and per value of a sinogram more
GROUP = 16  # rows that are computed together: raw chunks of more rows are read whole


@dataclass(frozen=True)
class Fields:
    """What is known of a scan's detector and beam.

    Attributes
    ----------
    flats : numpy.ndarray or None
        (group, row, column), averaged counts; None where the scan goes without.
    weights : FlatWeights or None
        Of every projection.
    dark : numpy.ndarray or None
        (row, column).
    air : numpy.ndarray or None
        (angle,) or (angle, 2), the factor that makes air 1.
    margin : (int, int) or None
        Columns of air at the left and right edge.
    offset, dead : numpy.ndarray or None
        (row, column), what `defects` found.
    warnings : tuple of str
    """

    flats: Array | None
    weights: flatfield.FlatWeights | None
    dark: Array | None
    air: Array | None = None
    margin: tuple[int, int] | None = None
    offset: Array | None = None
    dead: Array | None = None
    warnings: tuple[str, ...] = ()


def nominal_fields(frame: Frame) -> Fields:
    """Return stand-ins of the right shape, for planning."""
    blank = np.broadcast_to(np.float32(0), frame.shape[1:])
    return Fields(blank[None], None, blank, None, None, blank, blank.astype(bool))


# ---------------------------------------------------------------------------------------------- estimates


def fields_step(scan: Scan, frame: Frame, inputs: Mapping[str, Any] | None = None) -> Estimate:
    """Return the step that finds the fields of a scan."""
    frames = max(s.shape[0] if s else 0 for s in (scan.flats, scan.darks))
    averaging = 6 * frames * frame.rows * frame.columns * frame.binning**2  # counts of two bytes, and averaging them
    sinogram = frame.angles * frame.columns
    margin = len(sample_rows(frame, frame.columns, MARGIN_BYTES)) * sinogram * 40
    level = min(frame.rows * sinogram, max(LEVEL_BYTES // 8, 4 * sinogram)) * 10
    need = Need("", 1, int(max(averaging, margin, level)), alone=True, cpu_s=FIELDS_S + FIELDS_VALUE_S * sinogram)
    return Estimate(f"{scan.name}/fields", 4, need, inputs or {})


def measure_fields(
    settings: Correction, scan: Scan, frame: Frame, store: Store | None, steps: Steps | None = None
) -> Fields:
    """Average flats and darks, find the margin of air and the factor that scales each projection to it.

    Results are cached in the store.

    Raises
    ------
    ScanError
        The flats are unusable (saturated, empty, no brighter than the darks), or a margin that was given is not air.
    """
    key = {
        **scan_identity(scan),
        "frame": asdict(frame),
        "flatfield": settings.flatfield.model_dump(),
        "air": settings.air.model_dump(),
    }

    def found() -> dict[str, Array]:
        check_flats(scan)
        averages = _average(settings, scan, frame)
        return averages | _air(settings.air, scan, frame, _fields_of(averages, frame))

    return _fields_of(estimated(store, fields_step(scan, frame, key), found, steps), frame)


def _average(settings: Correction, scan: Scan, frame: Frame) -> dict[str, Array]:
    found: dict[str, Array] = {}
    method = settings.flatfield.method
    average: Literal["mean", "median"] = "median" if method == "median" else "mean"
    whole = (slice(0, frame.rows), slice(0, frame.columns))
    if scan.darks is not None:
        darks = _read_all(scan.darks, frame, whole)
        found["dark"] = flatfield.average_frames(darks, average)
    if scan.flats is not None:
        flats = _read_all(scan.flats, frame, whole)
        everything = [(0.0, np.arange(len(flats)))]
        groups = flatfield.group_flats(scan.flat_position) if method == "linear" else everything
        found["flats"] = np.stack([flatfield.average_frames(flats[members], average) for _, members in groups])
        found["flat_position"] = np.array([position for position, _ in groups])
    return found


def _read_all(frames: Frames, frame: Frame, whole: tuple[slice, slice]) -> Array:
    return RawSource(frames, frame).read((slice(0, frames.shape[0]), *whole))


def _fields_of(found: Mapping[str, Array], frame: Frame) -> Fields:
    weights = None
    if "flat_position" in found:
        weights = flatfield.flat_weights(found["flat_position"], frame.angles)
    margin = found.get("margin")
    return Fields(
        found.get("flats"),
        weights,
        found.get("dark"),
        found.get("air"),
        None if margin is None else (int(margin[0]), int(margin[1])),
        warnings=tuple(str(text) for text in found.get("warnings", np.array([]))),
    )


def _air(settings: Air, scan: Scan, frame: Frame, fields: Fields) -> dict[str, Array]:
    if settings.method == "none" or fields.flats is None:
        return {}
    sample = _transmission(scan, frame, fields, sample_rows(frame, frame.columns, MARGIN_BYTES))
    if settings.margin is not None:
        margin = air.Margin(*settings.margin)
    else:
        found = air.find_margin(sample)
        if found is None:
            text = (
                "no margin of air at the detector's edges: projections are not scaled to air; "
                "drift of the beam stays in the result"
            )
            return {"warnings": np.array([text])}
        margin = found
    rows = sample_rows(frame, margin.left + margin.right, LEVEL_BYTES)
    edges = _transmission(scan, frame, fields, rows, margin)
    scale = air.air_scale(edges, margin)
    return {"air": scale, "margin": np.array([margin.left, margin.right])}


def _transmission(
    scan: Scan, frame: Frame, fields: Fields, rows: Sequence[int], margin: air.Margin | None = None
) -> Array:
    """Return the transmission of single rows (angle, row, column), of the margins' columns only where given."""
    parts = (slice(0, margin.left), slice(frame.columns - margin.right, frame.columns)) if margin else None
    columns = parts or (slice(0, frame.columns),)
    if whole_frames(scan, frame):
        axis, pieces = 0, [(block, rows, slice(0, frame.rows)) for block in angle_blocks(frame)]
    else:  # rows near each other are read together: most of the time goes into finding each projection's row
        bands = [list(band) for _, band in groupby(rows, lambda row: row // GROUP)]
        axis, pieces = 1, [(slice(0, frame.angles), band, slice(band[0], band[-1] + 1)) for band in bands]
    return np.concatenate([_sample(scan, frame, fields, *piece, columns) for piece in pieces], axis=axis)


def _sample(
    scan: Scan, frame: Frame, fields: Fields, angles: slice, rows: Sequence[int], read: slice, columns: Sequence[slice]
) -> Array:
    """Return the transmission of rows (angle, row, column) out of the rows that are read together."""
    counts = RawSource(scan.projections, frame).read((angles, read, slice(0, frame.columns)))
    kept = [counts[:, np.subtract(rows, read.start), part] for part in columns]
    del counts
    parts = [integrals_of(fields, each, angles, rows, part) for each, part in zip(kept, columns, strict=True)]
    return np.asarray(np.exp(-np.concatenate(parts, axis=2)))


def whole_frames(scan: Scan, frame: Frame) -> bool:
    """Tell whether reading a few rows decodes whole frames, so that frames are better read once and rows picked."""
    return scan.projections.chunk_rows > GROUP * frame.binning


def angle_blocks(frame: Frame, most_bytes: float = 64e6) -> list[slice]:
    """Cut the projections into blocks that are held whole."""
    step = max(1, int(most_bytes / (4 * frame.rows * frame.columns)))
    return [slice(a, min(a + step, frame.angles)) for a in range(0, frame.angles, step)]


def sample_rows(frame: Frame, columns: int, most_bytes: float) -> list[int]:
    """Return rows spread evenly over the detector, few enough for `columns` of them in all projections."""
    count = int(np.clip(most_bytes / (8 * frame.angles * columns), 4, 256))
    edges = np.linspace(0, frame.rows, min(count, frame.rows) + 1)
    return [int((a + b) / 2) for a, b in pairwise(edges)]


def integrals_of(
    fields: Fields, counts: Array, angles: slice, rows: slice | Sequence[int], columns: slice = slice(None)
) -> Array:
    """Return the line integrals of counts (angle, row, column), as flats, darks (and air, where known) make them."""
    p, _ = flatfield.line_integrals(
        counts,
        None if fields.dark is None else fields.dark[rows, columns],
        "none" if fields.flats is None else fields.flats[:, rows, columns],
        None if fields.weights is None else weights_at(fields.weights, angles),
        air=None if fields.air is None else fields.air[angles],
    )
    return np.asarray(p)


def weights_at(weights: flatfield.FlatWeights, part: slice) -> flatfield.FlatWeights:
    """Return the weights of some projections."""
    return flatfield.FlatWeights(weights.index[part], weights.weight[part])
