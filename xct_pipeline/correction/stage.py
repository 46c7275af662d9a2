"""Counts to line integrals: what is estimated of a scan before its passes, and the operations of the passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal, assert_never

import numpy as np

from xct_pipeline.acquisition.checks import check_flats
from xct_pipeline.acquisition.stage import Frame, RawSource, scan_identity
from xct_pipeline.blocks import Array, BlockOp, ImageSource, Pass, Reduction, Region, inside, size_of, widen
from xct_pipeline.config import (
    Air,
    BeamHardeningPolynomial,
    Correction,
    NoMethod,
    Paganin,
    RadialDistortion,
    StripeAll,
    StripeDead,
    StripeDefects,
    StripeFiltering,
    StripeFitting,
    StripeFourierWavelet,
    StripeLarge,
    StripeSorting,
    StripeTitarenko,
    ZingerMedian,
)
from xct_pipeline.correction import (
    air,
    beam_hardening,
    defects,
    distortion,
    flatfield,
    phase,
    stripe_titarenko,
    stripe_vo,
    stripe_wavelet,
    zinger,
)
from xct_pipeline.execution import load_estimate, measure, save_estimate
from xct_pipeline.resources import Resources
from xct_pipeline.scan import Frames, Scan, ScanError
from xct_pipeline.store import Image, Store

GROUP = 16  # projections, or rows, that are computed together
DEFECTS_VERSION = 3
MARGIN_BYTES = 24e6  # of the rows that the margin of air is looked for in; the search takes about 20 times as much
HOSTILE_ROWS = 64  # raw chunks of more rows than this are read once, not once per group of rows
COUNTS = ("clipped", "saturated", "zero", "nonfinite", "zingers", "defective", "stripe_columns", "untouched_rows")


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


def measure_fields(settings: Correction, scan: Scan, frame: Frame, store: Store | None) -> Fields:
    """Average flats and darks, find the margin of air and the factor that scales each projection to it.

    Results are cached in the store.

    Raises
    ------
    ScanError
        The flats are unusable (saturated, empty, no brighter than the darks), or a margin that was given is not air.
    """
    key = {
        **scan_identity(scan), "frame": asdict(frame), "flatfield": settings.flatfield.model_dump(),
        "air": settings.air.model_dump(), "version": 3,
    }  # fmt: skip
    cached = load_estimate(store, f"{scan.name}/fields", key)
    if cached is None:
        check_flats(scan)
        cached = _average(settings, scan, frame)
        cached |= _air(settings.air, scan, frame, _fields_of(cached, frame))
        save_estimate(store, f"{scan.name}/fields", key, cached)
    return _fields_of(cached, frame)


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
        found.get("flats"), weights, found.get("dark"), found.get("air"),
        None if margin is None else (int(margin[0]), int(margin[1])),
        warnings=tuple(str(text) for text in found.get("warnings", np.array([]))),
    )  # fmt: skip


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
    rows = sample_rows(frame, margin.left + margin.right)
    edges = _transmission(scan, frame, fields, rows, margin)
    scale = air.air_scale(edges, margin)
    return {"air": scale, "margin": np.array([margin.left, margin.right])}


def _transmission(
    scan: Scan, frame: Frame, fields: Fields, rows: Sequence[int], margin: air.Margin | None = None
) -> Array:
    """Return the transmission of single rows (angle, row, column), of the margins' columns only where given."""
    if whole_frames(scan, frame):
        parts = [
            _edges(_integrals(scan, frame, fields, slice(0, frame.rows), block)[:, rows], frame, margin)
            for block in angle_blocks(frame)
        ]
        return np.asarray(np.exp(-np.concatenate(parts)))
    parts = [_edges(_integrals(scan, frame, fields, slice(row, row + 1)), frame, margin) for row in rows]
    return np.asarray(np.exp(-np.concatenate(parts, axis=1)))


def _edges(p: Array, frame: Frame, margin: air.Margin | None) -> Array:
    """Return the columns of the margins only, all of them where none is given."""
    if margin is None:
        return p
    return np.concatenate((p[..., : margin.left], p[..., frame.columns - margin.right :]), axis=2)


def whole_frames(scan: Scan, frame: Frame) -> bool:
    """Tell whether reading a few rows decodes whole frames, so that frames are better read once and rows picked."""
    return scan.projections.chunk_rows > GROUP * frame.binning


def angle_blocks(frame: Frame, most_bytes: float = 64e6) -> list[slice]:
    """Cut the projections into blocks that are held whole."""
    step = max(1, int(most_bytes / (4 * frame.rows * frame.columns)))
    return [slice(a, min(a + step, frame.angles)) for a in range(0, frame.angles, step)]


def sample_rows(frame: Frame, columns: int, most_bytes: float = 256e6) -> list[int]:
    """Return rows spread evenly over the detector, few enough to hold `columns` of them in all projections."""
    count = int(np.clip(most_bytes / (8 * frame.angles * columns), 4, 256))
    edges = np.linspace(0, frame.rows, min(count, frame.rows) + 1)
    return [int((a + b) / 2) for a, b in pairwise(edges)]


def _integrals(scan: Scan, frame: Frame, fields: Fields, rows: slice, angles: slice | None = None) -> Array:
    """Return line integrals of some rows as flats, darks (and air, where known) make them."""
    part = angles or slice(0, frame.angles)
    counts = RawSource(scan.projections, frame).read((part, rows, slice(0, frame.columns)))
    weights = None if fields.weights is None else _weights_at(fields.weights, part)
    p, _ = flatfield.line_integrals(
        counts, None if fields.dark is None else fields.dark[rows],
        "none" if fields.flats is None else fields.flats[:, rows], weights,
        air=None if fields.air is None else fields.air[part],
    )  # fmt: skip
    return np.asarray(p)


def _weights_at(weights: flatfield.FlatWeights, part: slice) -> flatfield.FlatWeights:
    return flatfield.FlatWeights(weights.index[part], weights.weight[part])


def integrals_of_rows(settings: Correction, scan: Scan, frame: Frame, fields: Fields, rows: Sequence[int]) -> Array:
    """Return sinograms (angle, row, column) of single rows, zingers removed, before stripe removal."""
    op = zinger_op(settings, frame)
    sinograms = []
    bands = [slice(max(0, row - 1), min(frame.rows, row + 2)) for row in rows]
    for row, band, counts in zip(rows, bands, _counts_of_bands(scan, frame, bands), strict=True):
        region = (slice(0, frame.angles), band, slice(0, frame.columns))
        wanted = (region[0], slice(row, row + 1), region[2])
        if op is not None:
            counts, _ = op.function(counts, region, wanted)
        else:
            counts = counts[inside(region, wanted)]
        block, _ = normalise_op(settings, scan, frame, fields).function(counts, wanted, wanted)
        sinograms.append(block)
    return np.concatenate(sinograms, axis=1)


def _counts_of_bands(scan: Scan, frame: Frame, bands: Sequence[slice]) -> Iterator[Array]:
    """Yield the counts of some bands of rows, all projections; whole compressed frames are decoded once."""
    source, columns = RawSource(scan.projections, frame), slice(0, frame.columns)
    if not whole_frames(scan, frame):
        for band in bands:
            yield source.read((slice(0, frame.angles), band, columns))
        return
    parts: list[list[Array]] = [[] for _ in bands]
    for block in angle_blocks(frame):
        counts = source.read((block, slice(0, frame.rows), columns))
        for part, band in zip(parts, bands, strict=True):
            part.append(counts[:, band].copy())
    yield from (np.concatenate(part) for part in parts)


def integrals_of_angles(scan: Scan, frame: Frame, fields: Fields, count: int) -> Array:
    """Return whole projections (angle, row, column) at a few angles, as line integrals."""
    chosen = np.unique(np.linspace(0, frame.angles - 1, count).astype(int))
    return np.concatenate(
        [_integrals(scan, frame, fields, slice(0, frame.rows), slice(k, k + 1)) for k in chosen.tolist()]
    )


def add_defects(settings: Correction, scans: Sequence[tuple[Fields, Array]], centers: Sequence[float]) -> list[Fields]:
    """Find what belongs to the detector, from the column statistics of all scans of one detector together.

    Scans whose working frames differ in rows or columns are taken as other detectors. `centers` are columns of the
    working frames.
    """
    assert isinstance(settings.stripe, StripeDefects)
    shapes = [columns.shape[1:] for _, columns in scans]
    result: dict[int, Fields] = {}
    for shape in dict.fromkeys(shapes):
        members = [k for k, other in enumerate(shapes) if other == shape]
        together = [scans[k][1] for k in members]
        found = defects.find_defects(
            together, centers=[centers[k] for k in members], snr=settings.stripe.snr,
            max_width=settings.stripe.max_width,
        )  # fmt: skip
        found = defects.along_rows(found, together)
        for k in members:
            result[k] = replace(scans[k][0], offset=found.offset, dead=found.dead)
    return [result[k] for k in range(len(scans))]


def column_statistics(
    settings: Correction, scan: Scan, frame: Frame, fields: Fields, store: Store | None, limits: Resources
) -> Array:
    """Measure what `add_defects` needs of one scan; cached in the store.

    Raises
    ------
    ScanError
        The scan has too few projections for its columns to be judged.
    """
    if frame.angles < 3 * defects.SEGMENTS:
        raise ScanError(
            f"{scan.name}: {frame.angles} projections are too few to tell defects from the sample"
            f" ({3 * defects.SEGMENTS} are needed); choose another correction.stripe.method"
        )
    ops = [op for op in (zinger_op(settings, frame), normalise_op(settings, scan, frame, fields)) if op is not None]
    regions = [
        (slice(0, frame.angles), slice(first, min(frame.rows, first + GROUP)), slice(0, frame.columns))
        for first in range(0, frame.rows, GROUP)
    ]
    source = _Corrected(RawSource(scan.projections, frame), tuple(ops))
    inputs = {
        **scan_identity(scan), "frame": asdict(frame), "ops": [op.identity() for op in ops],
    }  # fmt: skip
    reduction = Reduction(f"{scan.name}/columns", DEFECTS_VERSION, _statistics_chunk, _statistics_combine)
    return measure(store, reduction, source, regions, inputs, limits)["statistics"]


def _statistics_chunk(block: Array, region: Region) -> dict[str, Array]:
    del region
    return {"statistics": np.asarray(defects.column_statistics(block))}


def _statistics_combine(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {"statistics": np.concatenate([part["statistics"] for part in parts], axis=1)}


@dataclass(frozen=True)
class _Corrected:
    """A source behind operations."""

    raw: RawSource
    ops: tuple[BlockOp, ...]

    def read(self, region: Region) -> Array:
        regions = [region]
        for op in reversed(self.ops):
            regions.insert(0, op.needs(regions[0]))
        block: Any = self.raw.read(regions[0])
        for op, before, after in zip(self.ops, regions[:-1], regions[1:], strict=True):
            result = op.function(block, before, after)
            block = result[0] if isinstance(result, tuple) else result
        return np.asarray(block)

    def nbytes(self, region: Region) -> int:
        return self.raw.nbytes(region) + 4 * size_of(region)


# --------------------------------------------------------------------------------------------- operations


def to_integrals(settings: Correction, scan: Scan, frame: Frame, fields: Fields) -> tuple[BlockOp, ...]:
    """Return the operations from counts to line integrals, in their order."""
    ops = [
        zinger_op(settings, frame),
        normalise_op(settings, scan, frame, fields),
        distortion_op(settings),
        phase_op(settings, scan, frame),
        beam_hardening_op(settings),
    ]
    return tuple(op for op in ops if op is not None)


def zinger_op(settings: Correction, frame: Frame) -> BlockOp | None:
    """Return the removal of zingers, on counts."""
    chosen = settings.zinger
    match chosen:
        case NoMethod():
            return None
        case ZingerMedian():
            halo = (0, chosen.size // 2, 0) if chosen.plane == "projection" else (0, 0, 0)
            return BlockOp(
                "zinger.median", 1,
                partial(_remove_zingers, threshold=chosen.threshold, size=chosen.size, plane=chosen.plane),
                chosen.model_dump(), partial(widen, halo=halo, frame=frame.shape), partial(_bytes_per_value, count=4),
            )  # fmt: skip
        case _:
            assert_never(chosen)


def _bytes_per_value(region: Region, count: float) -> int:
    return int(size_of(region) * count)


def _remove_zingers(block: Any, source: Region, target: Region, **parameters: Any) -> tuple[Any, dict[str, int]]:
    corrected, replaced = zinger.remove_zingers(block, **parameters)
    cut = inside(source, target)
    return corrected[cut], {"zingers": int(replaced[cut[1]].sum())}


def normalise_op(settings: Correction, scan: Scan, frame: Frame, fields: Fields) -> BlockOp:
    """Return flat-field, air and logarithm in one operation."""
    del frame
    saturation = scan.saturation
    weights = fields.weights
    parameters = {
        "method": settings.flatfield.method, "air": fields.air, "dark": fields.dark, "flats": fields.flats,
        "position": None if weights is None else weights.weight, "saturation": saturation,
    }  # fmt: skip
    function = partial(_normalise, fields=fields, saturation=saturation)
    return BlockOp("flatfield", 1, function, parameters, scratch=partial(_bytes_per_value, count=0.5))


def _normalise(
    block: Any, source: Region, target: Region, *, fields: Fields, saturation: float | None
) -> tuple[Any, dict[str, int]]:
    del source
    angles, rows, _ = target
    p, counts = flatfield.line_integrals(
        block, None if fields.dark is None else _like(block, fields.dark[rows]),
        "none" if fields.flats is None else _like(block, fields.flats[:, rows]),
        None if fields.weights is None else _weights_at(fields.weights, angles),
        air=None if fields.air is None else fields.air[angles], saturation=saturation,
    )  # fmt: skip
    return p, {name: getattr(counts, name) for name in ("clipped", "saturated", "zero", "nonfinite")}


def _like(block: Any, array: Array) -> Any:
    from xct_pipeline.device import is_cupy, to_device

    return to_device(array) if is_cupy(block) else array


def distortion_op(settings: Correction) -> BlockOp | None:
    """Return the correction of radial distortion, on whole projections."""
    chosen = settings.distortion
    match chosen:
        case NoMethod():
            return None
        case RadialDistortion():
            function = partial(_distort, center=chosen.center, coefficients=tuple(chosen.coefficients))
            return BlockOp(
                "distortion.radial", 1, function, chosen.model_dump(), scratch=partial(_bytes_per_value, count=12)
            )
        case _:
            assert_never(chosen)


def _distort(block: Any, source: Region, target: Region, *, center: Any, coefficients: Any) -> Any:
    del source, target
    return distortion.correct_distortion(block, center=center, coefficients=coefficients)


def phase_op(settings: Correction, scan: Scan, frame: Frame) -> BlockOp | None:
    """Return phase retrieval, on whole projections.

    Raises
    ------
    ScanError
        Energy, distance or pixel size are unknown.
    """
    chosen = settings.phase
    match chosen:
        case NoMethod():
            return None
        case Paganin():
            known = {
                "energy_keV": scan.energy_keV,
                "distance_mm": chosen.distance_mm or scan.distance_mm,
                "pixel_size_um": None if scan.pixel_size_um is None else scan.pixel_size_um * frame.binning,
            }
            missing = [name for name, value in known.items() if value is None]
            if missing:
                raise ScanError(
                    f"{scan.name}: phase retrieval needs {', '.join(missing)}, which the file does not tell; "
                    "give it in the configuration"
                )
            parameters = {"delta_beta": chosen.delta_beta, **known}
            return BlockOp(
                "phase.paganin", 1, partial(_retrieve, parameters=parameters), parameters,
                scratch=partial(_bytes_per_value, count=20),
            )  # fmt: skip
        case _:
            assert_never(chosen)


def _retrieve(block: Any, source: Region, target: Region, *, parameters: Mapping[str, Any]) -> Any:
    del source, target
    return phase.retrieve_phase(block, **parameters)


def beam_hardening_op(settings: Correction) -> BlockOp | None:
    """Return the linearisation of line integrals."""
    chosen = settings.beam_hardening
    match chosen:
        case NoMethod():
            return None
        case BeamHardeningPolynomial():
            function = partial(_linearise, coefficients=tuple(chosen.coefficients))
            return BlockOp("beam_hardening.polynomial", 1, function, chosen.model_dump())
        case _:
            assert_never(chosen)


def _linearise(block: Any, source: Region, target: Region, *, coefficients: tuple[float, ...]) -> Any:
    del source, target
    return beam_hardening.linearise(block, coefficients)


def on_sinograms(settings: Correction, scan: Scan, frame: Frame, fields: Fields) -> tuple[BlockOp, ...]:
    """Return the operations on line integrals whose blocks hold all angles: the removal of stripes."""
    del scan, frame
    chosen = settings.stripe
    options = {key: value for key, value in chosen.model_dump().items() if key != "method" and value is not None}
    match chosen:
        case NoMethod():
            return ()
        case StripeDefects():
            parameters = {**options, "offset": fields.offset, "dead": fields.dead}
            function: Any = partial(_correct_defects, fields=fields)
            return (BlockOp("stripe.defects", DEFECTS_VERSION, function, parameters),)
        case StripeAll():
            options["drop"] = options.pop("drop_ratio")
            function = partial(_remove_all, options=options)
        case StripeSorting():
            function = partial(_on_rows, kernel=stripe_vo.remove_stripe_sorting, options=options)
        case StripeFiltering():
            function = partial(_on_rows, kernel=stripe_vo.remove_stripe_filtering, options=options)
        case StripeFitting():
            function = partial(_on_rows, kernel=stripe_vo.remove_stripe_fitting, options=options)
        case StripeLarge():
            options["drop"] = options.pop("drop_ratio")
            function = partial(_on_rows, kernel=stripe_vo.remove_large_stripe, options=options)
        case StripeDead():
            function = partial(_on_rows, kernel=stripe_vo.remove_dead_stripe, options=options)
        case StripeFourierWavelet():
            function = partial(_on_rows, kernel=stripe_wavelet.remove_stripe_fourier_wavelet, options=options)
        case StripeTitarenko():
            function = partial(_on_rows, kernel=stripe_titarenko.remove_stripe_titarenko, options=options)
        case _:
            assert_never(chosen)
    return (BlockOp(f"stripe.{chosen.method}", 1, function, chosen.model_dump(), scratch=_stripe_scratch),)


def _stripe_scratch(region: Region) -> int:
    """Return the memory of the stripe methods: a few copies of one row's sinogram."""
    rows = region[1].stop - region[1].start
    return int(size_of(region) / max(rows, 1) * 4 * 12)


def _on_rows(block: Any, source: Region, target: Region, *, kernel: Any, options: Mapping[str, Any]) -> Any:
    del source, target
    return kernel(block, **options)


def _remove_all(
    block: Any, source: Region, target: Region, *, options: Mapping[str, Any]
) -> tuple[Any, dict[str, int]]:
    del source, target
    corrected, dead, large = stripe_vo.remove_all_stripe_masks(block, **options)
    found = dead | large
    return corrected, {"stripe_columns": int(found.sum()), "untouched_rows": int((~found.any(axis=1)).sum())}


def _correct_defects(block: Any, source: Region, target: Region, *, fields: Fields) -> tuple[Any, dict[str, int]]:
    del source
    assert fields.offset is not None
    assert fields.dead is not None
    rows = target[1]
    offset, dead = fields.offset[rows], fields.dead[rows]
    changed = (offset != 0) | dead
    counts = {"defective": int(changed.sum()), "untouched_rows": int((~changed.any(axis=1)).sum())}
    return defects.correct_defects(block, _like(block, offset), _like(block, dead)), counts


# ------------------------------------------------------------------------------- passes over projections


def whole_projections(settings: Correction, scan: Scan, frame: Frame, rows: tuple[int, int]) -> bool:
    """Tell whether the corrected projections must be stored before sinograms are taken from them.

    That is where an operation needs whole projections, or where raw chunks hold so many rows that every group of
    rows would read (and decompress) the whole scan again.
    """
    if not isinstance(settings.distortion, NoMethod) or not isinstance(settings.phase, NoMethod):
        return True
    hostile = scan.projections.chunk_rows > HOSTILE_ROWS * frame.binning
    return hostile and rows[1] - rows[0] > 2 * GROUP


def projections_image(name: str, frame: Frame) -> Image:
    """Return the image of corrected projections: written by projections, read by rows."""
    thickness = min(4 * GROUP, -(-frame.angles // GROUP) * GROUP)
    return Image(
        f"scans/{name}/projections", ("angle", "row", "column"), frame.shape, "float32", "", thickness,
        chunks=(thickness, min(GROUP, frame.rows), frame.columns),
    )  # fmt: skip


def projection_pass(
    name: str, source: RawSource, ops: Sequence[BlockOp], frame: Frame, inputs: Mapping[str, Any]
) -> Pass:
    """Return the pass from counts to stored line integrals."""
    image = projections_image(name, frame)
    return Pass(image, source, tuple(ops), (GROUP, frame.rows, frame.columns), (0, 0, 0), inputs)


def stored_projections(store: Store, name: str, frame: Frame) -> ImageSource:
    """Return the source of stored line integrals."""
    folder = store.path.resolve() / projections_image(name, frame).path / "0"
    return ImageSource(str(folder), frame.shape, 4)


@dataclass(frozen=True)
class ComputedProjections:
    """Line integrals of a pass over projections, computed when they are read: for previews before a run."""

    step: Pass

    def read(self, region: Region) -> Array:
        """Compute the projections group by group and keep the rows that are asked for."""
        angles, rows, columns = region
        whole = (angles, *(slice(0, n) for n in self.step.image.shape[1:]))
        parts = [self.step.compute(granule)[0][:, rows, columns] for granule in self.step.granules(whole)]
        return np.concatenate(parts)

    def nbytes(self, region: Region) -> int:
        """Return the bytes of the result and of one group."""
        return size_of(region) * 4 + self.step.memory()
