"""How the angles of a scan cover half turns, and sinograms on an even grid over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class HalfTurns:
    """Where projections lie on the circle, and a uniform grid over half turns they are resampled to.

    Attributes
    ----------
    order : numpy.ndarray of int
        Projections by increasing angle on the circle, starting after the largest gap.
    theta : numpy.ndarray
        Those angles, from 0, below 2 pi.
    steps : int
        Steps of the grid in half a turn.
    starts : tuple of float
        Angle where each used half turn starts.
    kind : str
        "full" (every projection has a partner), "closed" (0 to 180 included), "open" (180 is not reached)
        or "short" (too far from 180 degrees for registration).
    """

    order: npt.NDArray[np.intp]
    theta: Array
    steps: int
    starts: tuple[float, ...]
    kind: str


def half_turns(angles: Array) -> HalfTurns:
    """Sort out how the angles (radians, any order, direction or wrap) cover half turns."""
    on_circle = np.mod(np.asarray(angles, np.float64), 2 * np.pi)
    order = np.argsort(on_circle, kind="stable")
    gaps = np.diff(on_circle[order], append=on_circle[order[0]] + 2 * np.pi)
    order = np.roll(order, -(int(np.argmax(gaps)) + 1))
    theta = np.mod(on_circle[order] - on_circle[order[0]], 2 * np.pi)
    theta = np.maximum.accumulate(theta)
    inner = np.diff(theta)
    inner = inner[inner > 1e-3 * np.max(inner)]  # repeated angles are no step
    step, span = float(np.median(inner)), float(theta[-1])
    steps = max(round(np.pi / step), 2)
    gap = np.pi - span
    if 2 * np.pi - span < 2.5 * step:
        return HalfTurns(order, theta, steps, (0.0,), "full")
    if gap <= 0.005 * step:
        starts = (0.0,) if -gap < 0.5 * step else (0.0, -gap)
        return HalfTurns(order, theta, steps, starts, "closed")
    open_steps = min(steps, int(np.floor(np.pi / gap * (1 + 1e-6))))
    kind = "open" if gap < max(1.6 * step, np.radians(5.0)) and open_steps >= 12 else "short"
    return HalfTurns(order, theta, open_steps, (0.0,), kind)


def resampling(turns: HalfTurns, start: float, count: int) -> tuple[Array, Array, Array]:
    """Return projections on either side of `count` angles of the grid from `start`, and the share of the later one."""
    wanted = start + np.pi / turns.steps * np.arange(count)
    theta = turns.theta
    if turns.kind == "full":
        theta = np.append(theta, 2 * np.pi)
        wanted = np.mod(wanted, 2 * np.pi)
    wanted = np.clip(wanted, theta[0], theta[-1])
    right = np.clip(np.searchsorted(theta, wanted), 1, len(theta) - 1)
    width = np.maximum(theta[right] - theta[right - 1], 1e-12)
    order = np.append(turns.order, turns.order[0])
    return order[right - 1], order[right], (wanted - theta[right - 1]) / width


def resample(sinogram: Array, turns: HalfTurns, start: float, count: int) -> Array:
    """Sinogram (angle, column) at `count` angles of the grid from `start`, linear in angle, wrapping."""
    left, right, part = resampling(turns, start, count)
    if np.all(np.minimum(part, 1 - part) < 5e-3):
        return np.asarray(sinogram[np.where(part < 0.5, left, right)], np.float32)
    part32 = part.astype(np.float32)[:, None]
    mixed = sinogram[left] * (1 - part32) + sinogram[right] * part32
    return np.asarray(mixed, np.float32)
