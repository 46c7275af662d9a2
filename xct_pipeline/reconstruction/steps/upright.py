"""The tilt of the axis: found from whole projections of a scan, and taken out by turning projections upright."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.acquisition.steps import Frame, scan_identity
from xct_pipeline.boxes import Region, size_of, widen
from xct_pipeline.config import Fourier, ReconstructionBase
from xct_pipeline.config.reconstruction import MOST_LEAN
from xct_pipeline.correction.distortion import resample
from xct_pipeline.correction.steps.fields import Fields
from xct_pipeline.correction.steps.samples import binned_integrals
from xct_pipeline.device import array_namespace
from xct_pipeline.engine.blocks import Array, BlockOp
from xct_pipeline.engine.execution import estimated
from xct_pipeline.engine.resources import Need
from xct_pipeline.engine.steps import Estimate, Steps
from xct_pipeline.reconstruction.tilt import LEAST_ROWS, TiltEstimate, chosen_angles, estimate_tilt
from xct_pipeline.scan import Scan
from xct_pipeline.store.store import Store

VIEWS = 180  # projections that the tilt is found from
COLUMNS = 128  # that they are binned to, about
COPIES = 8  # of the binned projections that are held at once
TILT_S, VALUE_S = 2.0, 5e-8  # CPU-seconds of a scan, and per value that is read
SIGNIFICANT, SHIFT = 5.0, 0.1  # standard errors, and pixels at the edge of the detector, from which a tilt matters
LIFTED = 0.3  # of a lift along z over half the columns: r.m.s. of the leans that it passed for in simulated cells
KNOWN = 15.0  # standard errors from which a lean is corrected: what is left of it, in each scan another, is small then


@dataclass(frozen=True)
class AxisTilt:
    """How the axis of a scan leans, and what is done about it.

    Attributes
    ----------
    found : TiltEstimate or None
        None where it was given, not looked for or not found.
    corrected_deg : float
        By which projections are turned.
    lean_corrected_deg : float
        Along which rays slices are reconstructed.
    method : str
        How it is known, or why it is not.
    warnings : tuple of str
        Sentences for the user.
    """

    found: TiltEstimate | None
    corrected_deg: float
    method: str
    warnings: tuple[str, ...] = ()
    lean_corrected_deg: float = 0.0


def given_tilt(settings: ReconstructionBase) -> float:
    """Return the tilt that the configuration gives, degrees; 0 where it is looked for or left."""
    return settings.tilt if isinstance(settings.tilt, float) else 0.0


def given_lean(settings: ReconstructionBase) -> float:
    """Return the lean that the configuration gives, degrees; 0 where it is looked for or left."""
    return settings.lean if isinstance(settings.lean, float) else 0.0


def tilt_step(scan: Scan, frame: Frame, inputs: Mapping[str, Any] | None = None) -> Estimate:
    """Return the step that finds the tilt of a scan's axis."""
    views, factor = min(VIEWS, frame.angles), _factor(frame)
    image = frame.rows * frame.columns
    memory = 4 * (COPIES * views * image // factor**2 + 6 * image)
    need = Need("", 1, memory, alone=True, cpu_s=TILT_S + VALUE_S * views * image)
    return Estimate(f"{scan.name}/tilt", 2, need, inputs or {})


def find_tilt(
    settings: ReconstructionBase, scan: Scan, frame: Frame, known: Fields, store: Store | None, steps: Steps | None
) -> AxisTilt:
    """Find the tilt of a scan's axis where the configuration asks for it, and say what is done about it."""
    lean = given_lean(settings)
    if isinstance(settings.tilt, float):
        return AxisTilt(None, settings.tilt, "given", lean_corrected_deg=lean)
    if settings.tilt == "none":
        return AxisTilt(None, 0.0, "not looked for", lean_corrected_deg=lean)
    factor = _factor(frame)

    def search() -> dict[str, Array]:
        try:
            chosen = chosen_angles(scan.angles, VIEWS)
            found = estimate_tilt(binned_integrals(scan, frame, known, chosen.tolist(), factor), scan.angles[chosen])
        except ValueError as error:
            return {"problem": np.asarray(str(error))}
        return {name: np.asarray(value) for name, value in vars(found).items()}

    key = {**scan_identity(scan), "frame": vars(frame), "fields": {"air": known.air, "flats": known.flats}}
    if known.shift is not None or known.dynamic is not None:
        key["light"] = {"shift": known.shift, "dynamic": known.dynamic and vars(known.dynamic)}
    values = estimated(store, tilt_step(scan, frame, key), search, steps)
    if "problem" in values:
        return AxisTilt(None, 0.0, f"not found: {values['problem']}", lean_corrected_deg=lean)
    plain = {field.name: values[field.name].item() for field in fields(TiltEstimate)}
    plain["lift"], plain["lift_sigma"] = plain["lift"] * factor, plain["lift_sigma"] * factor
    return judged(TiltEstimate(**plain), frame.rows, frame.columns, settings)


def judged(found: TiltEstimate, rows: int, columns: int, settings: ReconstructionBase) -> AxisTilt:
    """Correct a tilt and a lean that are significant and move something at the frame's edges; warn of what is left.

    What a lift within the scan may pass for is in the error of the lean.

    Parameters
    ----------
    rows, columns : int
        Of the working frame.
    settings : section of the configuration
    """
    warnings, corrected = [], 0.0
    edge = rows / 2 * math.tan(math.radians(abs(found.tilt_deg)))
    if abs(found.tilt_deg) > SIGNIFICANT * found.tilt_sigma and edge > SHIFT:
        corrected = found.tilt_deg
        warnings.append(
            f"the rotation axis is tilted by {found.tilt_deg:.3f} +- {found.tilt_sigma:.3f} degrees in the detector's "
            f"plane ({edge:.2f} pixels at the upper and lower edge): projections were turned upright by it"
        )
    lifted = abs(found.lift) > SIGNIFICANT * found.lift_sigma and abs(found.lift) > SHIFT
    if lifted:
        found = _with_lift(found, columns)
    lean, said = _judged_lean(found, columns, settings)
    warnings += said
    if lifted:
        warnings.append(
            f"the sample moved by {found.lift:.2f} +- {found.lift_sigma:.2f} pixels along z in half a turn: not "
            "corrected; horizontal faces are blurred by that"
        )
    return AxisTilt(found, corrected, "views half a turn apart", tuple(warnings), lean)


def _with_lift(found: TiltEstimate, columns: int) -> TiltEstimate:
    """Widen the error of a lean by what a lift may pass for: first moments are those of a volume that it blurs."""
    of_lift = math.degrees(LIFTED * abs(found.lift) / (columns / 2))
    return replace(found, lean_sigma=math.hypot(found.lean_sigma, of_lift))


def _judged_lean(found: TiltEstimate, columns: int, settings: ReconstructionBase) -> tuple[float, list[str]]:
    """Return the lean that slices are reconstructed with, and what is said of it."""
    rim = columns / 2 * math.tan(math.radians(abs(found.lean_deg)))
    if not (abs(found.lean_deg) > SIGNIFICANT * found.lean_sigma and rim > SHIFT):
        return given_lean(settings), []
    is_found = f"the rotation axis leans along the beam by {found.lean_deg:.3f} +- {found.lean_sigma:.3f} degrees"
    smeared = f"what lies {columns / 2:g} pixels off the axis is smeared by {rim:.2f} pixels along z"
    if isinstance(settings.lean, float):
        differs = abs(found.lean_deg - settings.lean) > SIGNIFICANT * found.lean_sigma
        return settings.lean, [f"{is_found}, but lean = {settings.lean:g} is given"] if differs else []
    if settings.lean == "none" or abs(found.lean_deg) > MOST_LEAN:
        return 0.0, [f"{is_found}: not corrected; {smeared}"]
    if not isinstance(settings, Fourier):
        return 0.0, [f'{is_found}: not corrected, as only method = "fourier" can; {smeared}']
    if abs(found.lean_deg) < KNOWN * found.lean_sigma:
        return 0.0, [f"{is_found}: not corrected, as the sample tells no more; give lean where it is known; {smeared}"]
    return found.lean_deg, [
        f"{is_found} ({rim:.2f} pixels along z at the edge of a slice): slices were reconstructed along rays that lean"
    ]


def upright_op(frame: Frame, tilt_deg: float, shift: Array | None = None) -> BlockOp | None:
    """Return the operation that turns line integrals so that the axis is upright and the sample stands still.

    Projections are turned about the middle of the frame and shifted in one, by bicubic convolution. The rows that a
    block needs beyond its own follow from the angle and the shifts alone.

    Parameters
    ----------
    frame : Frame
    tilt_deg : float
    shift : array (angle, 2), optional
        By how many rows and columns the sample is displaced in each projection.

    Returns
    -------
    BlockOp or None
        None where there is neither a tilt nor a shift.
    """
    if not tilt_deg and shift is None:
        return None
    row, _ = _places(np.arange(frame.rows), frame.shape[1:], tilt_deg)
    up = 0.0 if shift is None else float(np.abs(shift[:, 0]).max())
    reach = math.ceil(float(np.abs(row - np.arange(frame.rows)[:, None]).max()) + up) + 2
    return BlockOp(
        "upright",
        1,
        partial(_turn, shape=(frame.rows, frame.columns), tilt_deg=tilt_deg, shift=shift),
        {"tilt_deg": tilt_deg} if shift is None else {"tilt_deg": tilt_deg, "shift": shift},
        partial(widen, halo=(0, reach, 0), frame=frame.shape),
        partial(_scratch, apart=shift is not None),
    )


def _factor(frame: Frame) -> int:
    return max(1, min(round(frame.columns / COLUMNS), frame.rows // LEAST_ROWS))


def _scratch(region: Region, apart: bool) -> int:
    angles = region[0].stop - region[0].start
    # positions, taps and weights of each pixel; and views that are made one by one before they are put together
    return int(size_of(region) / max(angles, 1) * 80) + (4 * size_of(region) if apart else 0)


def _places(rows: Array, shape: tuple[int, int], tilt_deg: float) -> tuple[Array, Array]:
    """Where on the detector each pixel of the upright image comes from, (row, column)."""
    cosine, sine = math.cos(math.radians(tilt_deg)), math.sin(math.radians(tilt_deg))
    middle, center = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    z, u = np.asarray(rows, np.float64)[:, None] - middle, np.arange(shape[1]) - center
    return middle + z * cosine - u * sine, center + z * sine + u * cosine


def _turn(
    block: Any, source: Region, target: Region, *, shape: tuple[int, int], tilt_deg: float, shift: Array | None
) -> Any:
    row, column = _places(np.arange(target[1].start, target[1].stop), shape, tilt_deg)
    first, rows = source[1].start, shape[0]
    if shift is None:
        return resample(block, row, column, first_row=first, n_rows=rows)
    views = [
        resample(block[k : k + 1], row + up, column + aside, first_row=first, n_rows=rows)
        for k, (up, aside) in enumerate(shift[source[0]])
    ]
    return array_namespace(block).concatenate(views)
