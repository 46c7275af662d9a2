"""The motion of a sample within a scan: found from whole projections, and undone where projections are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from xct_pipeline.acquisition.steps import Frame, scan_identity
from xct_pipeline.correction.drift import find_drift
from xct_pipeline.correction.steps.fields import Fields
from xct_pipeline.correction.steps.samples import binned_integrals
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import estimated
from xct_pipeline.engine.resources import Need
from xct_pipeline.engine.steps import Estimate, Steps
from xct_pipeline.scan import Scan
from xct_pipeline.store.store import Store

VIEWS, COLUMNS = 180, 256  # projections that the motion is found from, and the columns they are binned to, about
MOTION_S, VALUE_S = 1.0, 5e-8  # CPU-seconds of a scan, and per value that is read
SIGNIFICANT, LEAST = 5.0, 0.1  # standard errors, and pixels, from which a motion is corrected


@dataclass(frozen=True)
class Motion:
    """How a sample moved within a scan, and what is done about it.

    Attributes
    ----------
    shift : numpy.ndarray (angle, 2) or None
        Rows and columns, in each projection, that are corrected; None where nothing is.
    size : (float, float) or None
        Largest distance between two projections, rows and columns, as found.
    sigma : (float, float) or None
        Standard error of the shift of one projection.
    method : str
        How it is known, or why it is not.
    warnings : tuple of str
    """

    shift: Array | None
    size: tuple[float, float] | None
    sigma: tuple[float, float] | None
    method: str
    warnings: tuple[str, ...] = ()


def motion_step(scan: Scan, frame: Frame, inputs: Mapping[str, Any] | None = None) -> Estimate:
    """Return the step that finds the motion of a sample within a scan."""
    views, image = min(VIEWS, frame.angles), frame.rows * frame.columns
    memory = 4 * (8 * views * image // _factor(frame) ** 2 + 6 * image)
    need = Need("", 1, memory, alone=True, cpu_s=MOTION_S + VALUE_S * views * image)
    return Estimate(f"{scan.name}/drift", 1, need, inputs or {})


def find_motion(
    method: Literal["moments", "none"],
    scan: Scan,
    frame: Frame,
    known: Fields,
    store: Store | None,
    steps: Steps | None,
) -> Motion:
    """Find the motion of the sample within a scan where that is asked for, and say what is done about it."""
    if method == "none":
        return Motion(None, None, None, "not looked for")
    if known.margin is None or min(known.margin) < 1:
        return Motion(None, None, None, "not found: no air on both sides of the sample")
    factor = _factor(frame)
    chosen = np.unique(np.linspace(0, frame.angles - 1, min(VIEWS, frame.angles)).round().astype(int))

    def search() -> dict[str, Array]:
        p = binned_integrals(scan, frame, known, chosen.tolist(), factor)
        try:
            found = find_drift(p, scan.angles[chosen], chosen / max(frame.angles - 1, 1))
        except ValueError as error:
            return {"problem": np.asarray(str(error))}
        return {name: np.asarray(value) * factor for name, value in vars(found).items()}

    key = {
        **scan_identity(scan),
        "frame": vars(frame),
        "fields": {"air": known.air, "flats": known.flats, "dynamic": known.dynamic and vars(known.dynamic)},
    }
    values = estimated(store, motion_step(scan, frame, key), search, steps)
    if "problem" in values:
        return Motion(None, None, None, f"not found: {values['problem']}")
    every = np.arange(frame.angles)
    shift = np.stack([np.interp(every, chosen, values["shift"][:, axis]) for axis in (0, 1)], axis=1)
    return judged(shift, values["sigma"])


def judged(shift: Array, sigma: Array) -> Motion:
    """Correct a motion along rows or columns that is significant and matters, and say so.

    Parameters
    ----------
    shift : array (angle, 2)
    sigma : array (2,)
    """
    size, text = np.ptp(shift, axis=0), []
    corrected = np.zeros_like(shift)
    for axis, name in ((1, "columns"), (0, "rows")):
        if size[axis] > max(SIGNIFICANT * float(sigma[axis]), LEAST):
            corrected[:, axis] = shift[:, axis]
            text.append(f"{size[axis]:.2f} +- {sigma[axis]:.2g} {name}")
    sizes = (float(size[0]), float(size[1]))
    errors = (float(sigma[0]), float(sigma[1]))
    if not text:
        return Motion(None, sizes, errors, "moments: none that matters")
    said = f"the sample moved by {' and '.join(text)} within the scan, slowly: projections were shifted back by that"
    return Motion(corrected, sizes, errors, "moments", (said,))


def _factor(frame: Frame) -> int:
    return max(1, round(frame.columns / COLUMNS))
