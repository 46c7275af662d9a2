"""What is estimated of a scan's detector and beam before its passes: flats, darks and the air in each projection."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from xct_pipeline.acquisition import counts
from xct_pipeline.acquisition.levels import ROWS, Finding, Shares, count_shares
from xct_pipeline.acquisition.selection import without
from xct_pipeline.acquisition.steps import Frame, RawSource, scan_identity
from xct_pipeline.config import Correction, DynamicFlat, NoMethod
from xct_pipeline.correction import air, flatfield
from xct_pipeline.correction.steps.dynamic import (
    Dynamic,
    air_left,
    dynamic_bytes,
    dynamic_of,
    measure_dynamic,
    ratio_to_mean,
)
from xct_pipeline.correction.steps.frames import (
    MOST_LEFT_OUT,
    column_statistics,
    full_camera,
    judge_projections,
    judge_whole,
    refuse_counts,
    refuse_many,
    rings_in,
    shadow_in_flats,
)
from xct_pipeline.correction.steps.margins import level_of, margin_of
from xct_pipeline.correction.steps.references import References, measure_references
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import estimated
from xct_pipeline.engine.resources import Need
from xct_pipeline.engine.steps import Estimate, Steps
from xct_pipeline.scan import Frames, Scan
from xct_pipeline.store.store import Store

MARGIN_BYTES = 24e6  # of the rows that the margin of air is looked for in
LEVEL_BYTES = 128e6  # of the margin's pixels that the level of air is taken from
DYNAMIC_VALUE_S = 5e-10  # CPU-seconds per count of a scan that dynamic flats are found from
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
    left_out : tuple of int
        Projections, counted in the raw scan, that do not belong; everything else here is of the others.
    saturation : float or None
        Counts at and above which a pixel is saturated.
    findings : tuple of Finding
        Frames that deviate.
    dynamic : Dynamic or None
        How the flat of each projection differs from the mean flat.
    flat_change, flat_left : (float, float) or None
        R.m.s. share of the light in air that was corrected by it, and that is left between rows, each with an error.
    shift : numpy.ndarray (angle, 2) or None
        Rows and columns by which the sample is displaced in each projection, where that is corrected.
    jitter : float
        Columns by which single projections are shifted at random, rms; nan where that cannot be told.
    """

    flats: Array | None
    weights: flatfield.FlatWeights | None
    dark: Array | None
    air: Array | None = None
    margin: tuple[int, int] | None = None
    offset: Array | None = None
    dead: Array | None = None
    warnings: tuple[str, ...] = ()
    left_out: tuple[int, ...] = ()
    saturation: float | None = None
    findings: tuple[Finding, ...] = ()
    jitter: float = float("nan")
    dynamic: Dynamic | None = None
    flat_change: tuple[float, float] | None = None
    flat_left: tuple[float, float] | None = None
    shift: Array | None = None

    @property
    def components(self) -> tuple[int, int]:
        """Eigen flats, and bands found in air, that make the flat of each projection."""
        return (0, 0) if self.dynamic is None else (len(self.dynamic.images), len(self.dynamic.bands))


def nominal_fields(frame: Frame) -> Fields:
    """Return stand-ins of the right shape, for planning."""
    blank = np.broadcast_to(np.float32(0), frame.shape[1:])
    return Fields(blank[None], None, blank, None, None, blank, blank.astype(bool))


# ---------------------------------------------------------------------------------------------- estimates


def fields_step(settings: Correction, scan: Scan, frame: Frame, inputs: Mapping[str, Any] | None = None) -> Estimate:
    """Return the step that finds the fields of a scan."""
    frames = max(s.shape[0] if s else 0 for s in (scan.flats, scan.darks))
    averaging = 6 * frames * frame.rows * frame.columns * frame.binning**2  # counts of two bytes, and averaging them
    sinogram = frame.angles * frame.columns
    margin = len(sample_rows(frame, frame.columns, MARGIN_BYTES)) * sinogram * 40
    level = min(frame.rows * sinogram, max(LEVEL_BYTES // 8, 4 * sinogram)) * 10
    more = dynamic_bytes(frame) if isinstance(settings.flatfield, DynamicFlat) else 0
    need = Need(
        "", 1, int(max(averaging, margin, level) + more), alone=True, cpu_s=FIELDS_S + FIELDS_VALUE_S * sinogram
    )
    return Estimate(f"{scan.name}/fields", 12, need, inputs or {})


def measure_fields(
    settings: Correction,
    scan: Scan,
    frame: Frame,
    store: Store | None,
    steps: Steps | None = None,
    most_left_out: float = MOST_LEFT_OUT,
) -> Fields:
    """Average flats and darks, judge every frame, find the margin of air and the factor that scales projections to it.

    Results are cached in the store.

    Parameters
    ----------
    settings : Correction
    scan : Scan
    frame : Frame
    store : Store or None
    most_left_out : float
        Share of the projections that may be left out.

    Returns
    -------
    Fields
        Of the projections that belong: see `sound`.

    Raises
    ------
    ScanError
        The flats are unusable (saturated, empty, no brighter than the darks), a margin that was given is not air, or
        too many projections do not belong.
    """
    key = {
        **scan_identity(scan),
        "frame": asdict(frame),
        "flatfield": settings.flatfield.model_dump(),
        "air": settings.air.model_dump(),
        "motion": settings.motion,
        "most_left_out": most_left_out,
    }
    step = fields_step(settings, scan, frame, key)
    found = estimated(store, step, lambda: _measure(settings, scan, frame, most_left_out), steps)
    fields = _fields_of(found)
    if "columns" in found and isinstance(settings.stripe, NoMethod):  # else they are removed
        fields = replace(fields, warnings=(*fields.warnings, *rings_in(found["columns"], float(found["axis"]))))
    return fields


def sound(scan: Scan, frame: Frame, fields: Fields) -> tuple[Scan, Frame]:
    """Return a scan and its frame without the projections that do not belong."""
    if not fields.left_out and fields.saturation == scan.saturation:
        return scan, frame
    kept = replace(without(scan, projections=fields.left_out), saturation=fields.saturation)
    return kept, replace(frame, angles=len(kept.angles))


def _measure(settings: Correction, scan: Scan, frame: Frame, most_left_out: float) -> dict[str, Array]:
    flat = settings.flatfield
    components = flat.components if isinstance(flat, DynamicFlat) else "auto"
    references = measure_references(scan, frame, flat.method, components)
    found: dict[str, Array] = {}
    for name, value in (
        ("dark", references.dark),
        ("flats", references.flats),
        ("flat_position", references.position),
        ("saturation", None if references.saturation is None else np.array(references.saturation)),
    ):
        if value is not None:
            found[name] = value
    found["angles"] = np.array(frame.angles)
    fields = _fields_of(found)
    sample, shares = _sampled(scan, frame, fields, sample_rows(frame, frame.columns, MARGIN_BYTES))
    dark = judge_projections(sample, shares, scan.angles)
    refuse_counts(scan, sample, fields.flats is None)
    findings, notes = [*references.findings, *dark.findings], [*references.notes, *dark.notes]
    left_out = refuse_many(scan, dark.findings, most_left_out)
    belonging = np.setdiff1d(np.arange(frame.angles), left_out)
    belongs = sample[belonging] if left_out else sample
    margin, strange = margin_of(settings.air, belongs, scan.angles[belonging], fields.flats is not None, notes)
    del belongs
    if strange:
        text = "show something else in the frame or at its edges than their neighbours: shifted or torn frames"
        dark.findings.append(Finding("projections", tuple(int(k) for k in belonging[strange]), text, True))
        findings.append(dark.findings[-1])
        left_out = refuse_many(scan, dark.findings, most_left_out)
    jitter = float("nan")
    if fields.flats is not None:
        notes += full_camera(references.constant, sample)
        shadow = shadow_in_flats(sample)
        if isinstance(flat, DynamicFlat):
            found |= measure_dynamic(flat, scan, frame, references, margin, left_out, notes)
            sample = sample * ratio_to_mean(found, sample_rows(frame, frame.columns, MARGIN_BYTES))
        scaled = sample if margin is None else sample * level_of(sample, margin, left_out)[:, None, None]
        # what is filled when it is read is not yet so here: such frames cannot be compared with others
        partly = {k for each in dark.findings if not each.left_out for k in each.frames}
        whole = judge_whole(scan, scaled, margin, sorted({*left_out, *partly}), settings.motion != "none")
        about = [
            text for text in whole.notes if not (shadow and text.startswith("projections are up to"))
        ]  # told once, with its cause
        findings, notes, jitter = [*findings, *whole.findings], [*notes, *shadow, *about], whole.jitter
        left_out = refuse_many(scan, [*dark.findings, *whole.findings], most_left_out)
        sure = np.setdiff1d(belonging, [*left_out, *partly])
        columns = column_statistics(scaled[sure], scan.angles[sure])
        if columns is not None:
            found["columns"], found["axis"] = columns[0], np.array(columns[1])
        notes += _counts(scan, frame, references)
    del sample
    if "flat_amounts" in found:
        found["flat_amounts"] = np.delete(found["flat_amounts"], left_out, axis=0)
    if margin is not None:
        kept = without(scan, projections=left_out)
        smaller = replace(frame, angles=len(kept.angles))
        position = np.interp(references.position, *_clock(frame.angles, left_out))  # type: ignore[arg-type]
        found |= {"flat_position": position, "angles": np.array(smaller.angles)}
        rows = sample_rows(frame, margin.left + margin.right, LEVEL_BYTES)
        edges = _transmission(kept, smaller, _fields_of(found), rows, margin)
        found |= {"air": air.air_scale(edges, margin), "margin": np.array([margin.left, margin.right])}
        notes += counts.exposure_note(found["air"])
        found["flat_left"] = np.array(air_left(edges, margin))
    elif left_out and references.position is not None:
        found["flat_position"] = np.interp(references.position, *_clock(frame.angles, left_out))
        found["angles"] = np.array(frame.angles - len(left_out))
    found |= {"left_out": np.array(left_out, int), "jitter": np.array(jitter)}
    found["findings"] = np.array(json.dumps([asdict(each) for each in findings]))
    found["warnings"] = np.array([*map(str, findings), *notes])
    return found


def _counts(scan: Scan, frame: Frame, references: References) -> list[str]:
    """Return what a few projections and the flats tell of how counts were written, and rows without light."""
    assert references.flats is not None
    dark = 0.0 if references.dark is None else references.dark
    notes = counts.rows_without_light(references.flats.mean(axis=0) - dark)
    if frame.binning > 1 or scan.flats is None:  # sums of pixels tell neither
        return notes
    some = sorted({0, frame.angles // 2, frame.angles - 1})
    return notes + counts.count_notes(
        _some_rows(scan.projections, frame, some), _some_rows(scan.flats, frame, range(min(2, scan.flats.shape[0])))
    )


def _some_rows(frames: Frames, frame: Frame, which: Iterable[int]) -> Array:
    """Return rows of single frames that are enough to judge their counts by."""
    source, rows, columns = RawSource(frames, frame), slice(0, frame.rows), slice(0, frame.columns)
    step = max(1, frame.rows // ROWS)
    return np.concatenate([source.read((slice(k, k + 1), rows, columns))[:, ::step] for k in which])


def _clock(angles: int, left_out: Sequence[int]) -> tuple[Array, Array]:
    """Return numbers of projections taken, and of those among them that are kept."""
    kept = ~np.isin(np.arange(angles), left_out)
    return np.arange(angles + 1.0), np.concatenate([[0.0], np.cumsum(kept)])


def _fields_of(found: Mapping[str, Array]) -> Fields:
    weights = None
    if "flat_position" in found:
        weights = flatfield.flat_weights(found["flat_position"], int(found["angles"]))
    margin = found.get("margin")
    return Fields(
        found.get("flats"),
        weights,
        found.get("dark"),
        found.get("air"),
        None if margin is None else (int(margin[0]), int(margin[1])),
        warnings=tuple(str(text) for text in found.get("warnings", np.array([]))),
        left_out=tuple(int(k) for k in found.get("left_out", np.array([], int))),
        saturation=None if "saturation" not in found else float(found["saturation"]),
        findings=tuple(Finding(**{**each, "frames": tuple(each["frames"])}) for each in _listed(found)),
        jitter=float(found.get("jitter", np.array(np.nan))),
        dynamic=dynamic_of(found),
        flat_change=(float(found["flat_change"]), float(found["flat_sigma"])) if "flat_change" in found else None,
        flat_left=tuple(found["flat_left"].tolist()) if "flat_left" in found else None,
    )


def _listed(found: Mapping[str, Array]) -> list[dict[str, Any]]:
    return list(json.loads(str(found["findings"]))) if "findings" in found else []


def _transmission(
    scan: Scan, frame: Frame, fields: Fields, rows: Sequence[int], margin: air.Margin | None = None
) -> Array:
    """Return the transmission of single rows (angle, row, column), of the margins' columns only where given."""
    return _sampled(scan, frame, fields, rows, margin)[0]


def _sampled(
    scan: Scan, frame: Frame, fields: Fields, rows: Sequence[int], margin: air.Margin | None = None
) -> tuple[Array, Shares]:
    """Return the transmission of single rows, and for each projection the pixels in them that hold no count."""
    parts = (slice(0, margin.left), slice(frame.columns - margin.right, frame.columns)) if margin else None
    columns = parts or (slice(0, frame.columns),)
    if whole_frames(scan, frame):
        axis, pieces = 0, [(block, rows, slice(0, frame.rows)) for block in angle_blocks(frame)]
    else:  # rows near each other are read together: most of the time goes into finding each projection's row
        bands = [list(band) for _, band in groupby(rows, lambda row: row // GROUP)]
        axis, pieces = 1, [(slice(0, frame.angles), band, slice(band[0], band[-1] + 1)) for band in bands]
    found = [_sample(scan, frame, fields, *piece, columns) for piece in pieces]
    together = [shares for _, shares in found]
    if axis == 1:
        total = reduce(operator.add, together)
    else:
        names = ("zero", "nonfinite", "saturated", "checksum")
        total = Shares(*(np.concatenate([getattr(each, name) for each in together]) for name in names))
    return np.concatenate([values for values, _ in found], axis=axis), total


def _sample(
    scan: Scan, frame: Frame, fields: Fields, angles: slice, rows: Sequence[int], read: slice, columns: Sequence[slice]
) -> tuple[Array, Shares]:
    """Return the transmission of rows (angle, row, column) out of the rows that are read together."""
    raw = RawSource(scan.projections, frame).read((angles, read, slice(0, frame.columns)))
    kept = [raw[:, np.subtract(rows, read.start), part] for part in columns]
    del raw
    parts = [integrals_of(fields, each, angles, rows, part) for each, part in zip(kept, columns, strict=True)]
    usable = None if fields.flats is None or len(columns) > 1 else np.isfinite(fields.flats[0][rows])
    shares = [count_shares(each, fields.saturation, usable) for each in kept]
    return np.asarray(np.exp(-np.concatenate(parts, axis=2))), reduce(operator.add, shares)


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
        modes=None if fields.dynamic is None else fields.dynamic.modes(angles, rows, columns),
    )
    return np.asarray(p)


def weights_at(weights: flatfield.FlatWeights, part: slice) -> flatfield.FlatWeights:
    """Return the weights of some projections."""
    return flatfield.FlatWeights(weights.index[part], weights.weight[part])
