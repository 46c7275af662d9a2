"""Counts to line integrals, as block operations and as the pass that stores corrected projections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, assert_never

import numpy as np

from xct_pipeline.acquisition.steps import Frame, RawSource
from xct_pipeline.boxes import Region, inside, size_of, widen
from xct_pipeline.config import (
    BeamHardeningPolynomial,
    Correction,
    NoMethod,
    Paganin,
    RadialDistortion,
    ScatterHalo,
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
from xct_pipeline.correction import beam_hardening, distortion, flatfield, phase, scatter, zinger
from xct_pipeline.correction.defects import find as defects
from xct_pipeline.correction.steps.fields import GROUP, Fields, weights_at
from xct_pipeline.correction.stripes import titarenko as stripe_titarenko
from xct_pipeline.correction.stripes import vo as stripe_vo
from xct_pipeline.correction.stripes import wavelet as stripe_wavelet
from xct_pipeline.engine.blocks import Array, BlockOp, ImageSource, Pass
from xct_pipeline.scan import Scan, ScanError
from xct_pipeline.store.image import Image
from xct_pipeline.store.store import Store

DEFECTS_VERSION = 3
COUNTS_RATE = 25e6  # values of the projections that are corrected per CPU-second
HOSTILE_ROWS = 64  # raw chunks of more rows than this are read once, not once per group of rows
COUNTS = ("clipped", "saturated", "zero", "nonfinite", "zingers", "defective", "stripe_columns", "untouched_rows")


# --------------------------------------------------------------------------------------------- operations


def to_integrals(settings: Correction, scan: Scan, frame: Frame, fields: Fields) -> tuple[BlockOp, ...]:
    """Return the operations from counts to line integrals, in their order."""
    ops = (
        scatter_op(settings, frame),
        distortion_op(settings),
        phase_op(settings, scan, frame),
        beam_hardening_op(settings),
    )
    return (*on_counts(settings, scan, frame, fields), *(op for op in ops if op is not None))


def on_counts(settings: Correction, scan: Scan, frame: Frame, fields: Fields) -> tuple[BlockOp, ...]:
    """Return the first of these operations: zingers, flat field, air and logarithm."""
    zingers = zinger_op(settings, frame)
    normalise = normalise_op(settings, scan, frame, fields)
    return (normalise,) if zingers is None else (zingers, normalise)


def zinger_op(settings: Correction, frame: Frame) -> BlockOp | None:
    """Return the removal of zingers, on counts."""
    chosen = settings.zinger
    match chosen:
        case NoMethod():
            return None
        case ZingerMedian():
            reach = chosen.size // 2
            halo = (0, reach, 0) if chosen.plane == "projection" else (reach, 0, 0)
            return BlockOp(
                "zinger.median",
                2,
                partial(_remove_zingers, threshold=chosen.threshold, size=chosen.size, plane=chosen.plane),
                chosen.model_dump(),
                partial(widen, halo=halo, frame=frame.shape),
                partial(_bytes_per_value, count=4),
            )
        case _:
            assert_never(chosen)


def _bytes_per_value(region: Region, count: float) -> int:
    return int(size_of(region) * count)


def _remove_zingers(block: Any, source: Region, target: Region, **parameters: Any) -> tuple[Any, dict[str, int]]:
    angles, rows, _ = inside(source, target)
    corrected, replaced = zinger.remove_zingers(block, rows=rows, **parameters)
    if source[0] == target[0]:
        return corrected, {"zingers": int(replaced.sum())}
    kept, before = corrected[angles], block[angles, rows]
    return kept, {"zingers": int(((kept != before) & (before == before)).sum())}  # those of the halo left out


def normalise_op(settings: Correction, scan: Scan, frame: Frame, fields: Fields) -> BlockOp:
    """Return flat-field, air and logarithm in one operation."""
    del frame
    saturation = scan.saturation
    weights = fields.weights
    parameters: dict[str, Any] = {
        "method": settings.flatfield.method,
        "air": fields.air,
        "dark": fields.dark,
        "flats": fields.flats,
        "position": None if weights is None else weights.weight,
        "saturation": saturation,
    }
    if fields.dynamic is not None:
        parameters |= {f"dynamic.{name}": value for name, value in vars(fields.dynamic).items()}
    function = partial(_normalise, fields=fields, saturation=saturation)
    return BlockOp("flatfield", 1, function, parameters, scratch=partial(_bytes_per_value, count=0.5))


def _normalise(
    block: Any, source: Region, target: Region, *, fields: Fields, saturation: float | None
) -> tuple[Any, dict[str, int]]:
    del source
    angles, rows, _ = target
    p, counts = flatfield.line_integrals(
        block,
        None if fields.dark is None else _like(block, fields.dark[rows]),
        "none" if fields.flats is None else _like(block, fields.flats[:, rows]),
        None if fields.weights is None else weights_at(fields.weights, angles),
        air=None if fields.air is None else fields.air[angles],
        modes=None if fields.dynamic is None else _modes_like(block, fields.dynamic.modes(angles, rows)),
        saturation=saturation,
    )
    return p, {name: getattr(counts, name) for name in ("clipped", "saturated", "zero", "nonfinite")}


def _modes_like(block: Any, modes: flatfield.Modes) -> flatfield.Modes:
    return replace(modes, images=_like(block, modes.images))


def _like(block: Any, array: Array) -> Any:
    from xct_pipeline.device import is_cupy, to_device

    return to_device(array) if is_cupy(block) else array


def scatter_op(settings: Correction, frame: Frame) -> BlockOp | None:
    """Return the removal of a halo of scattered light, on whole projections."""
    chosen = settings.scatter
    match chosen:
        case NoMethod():
            return None
        case ScatterHalo():
            parameters = {
                "share": chosen.share,
                "width": chosen.width / frame.binning,
                "air": settings.air.method != "none",
            }
            function = partial(_remove_halo, parameters=parameters)
            return BlockOp("scatter.halo", 1, function, parameters, scratch=partial(_bytes_per_value, count=16))
        case _:
            assert_never(chosen)


def _remove_halo(block: Any, source: Region, target: Region, *, parameters: Mapping[str, Any]) -> Any:
    del source, target
    return scatter.remove_halo(block, **parameters)


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
                "phase.paganin",
                1,
                partial(_retrieve, parameters=parameters),
                parameters,
                scratch=partial(_bytes_per_value, count=20),
            )
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
    if any(not isinstance(each, NoMethod) for each in (settings.scatter, settings.distortion, settings.phase)):
        return True
    hostile = scan.projections.chunk_rows > HOSTILE_ROWS * frame.binning
    return hostile and rows[1] - rows[0] > 2 * GROUP


def projections_image(name: str, frame: Frame) -> Image:
    """Return the image of corrected projections: written by projections, read by rows."""
    thickness = min(4 * GROUP, -(-frame.angles // GROUP) * GROUP)
    return Image(
        f"scans/{name}/projections",
        ("angle", "row", "column"),
        frame.shape,
        "float32",
        "",
        thickness,
        chunks=(thickness, min(GROUP, frame.rows), frame.columns),
    )


def projection_pass(
    name: str,
    source: RawSource,
    ops: Sequence[BlockOp],
    frame: Frame,
    inputs: Mapping[str, Any],
    on_device: bool = False,
) -> Pass:
    """Return the pass from counts to stored line integrals."""
    image = projections_image(name, frame)
    granule = (GROUP, frame.rows, frame.columns)
    return Pass(image, source, tuple(ops), granule, (0, 0, 0), inputs, on_device, cpu_s=correction_s(frame))


def correction_s(frame: Frame) -> float:
    """Return the CPU-seconds of correcting all counts of a scan, roughly."""
    return frame.angles * frame.rows * frame.columns / COUNTS_RATE


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
