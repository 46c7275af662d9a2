"""The bands that a monochromator lays over the beam along the detector's rows, and how they change with time.

A multilayer's stripes move up and down as it warms, and grow and fade as its layers do; both are slow against a
frame. Here one pattern of bands moves and another comes and goes, each as an Ornstein-Uhlenbeck process, that runs
through flats, projections and the pauses between scans: a random walk that forgets within about two scans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[np.float64]
MEMORY = 2.0  # scans after which the state is forgotten
PAUSE = 1.0  # scans that pass between two scans
WIDTH = 1.5  # rows, standard deviation of what the bands are smoothed with


@dataclass(frozen=True, eq=False)
class Bands:
    """Patterns of a series and their states.

    Attributes
    ----------
    pattern : numpy.ndarray
        (2, row, column), relative light of r.m.s. 1; the first moves, the second comes and goes.
    states : numpy.ndarray
        (scan, angle + 2, 2): by how many rows the first has moved, and the amount of the second, in flats before, at
        each projection, in flats after.
    step : float
        Rows by which the first moves to change by as much as the second does where its amount is 1.
    size : float
        R.m.s. share of the light by which the profile deviates from its mean in time.
    """

    pattern: Array
    states: Array
    step: float
    size: float

    def light(self, scan: int, moments: slice) -> Array:
        """Return the factor on the profile (moment, row, column); moments as in `states`."""
        shift, amount = self.states[scan, moments].T
        moved = np.stack([scipy.ndimage.shift(self.pattern[0], (s, 0.0), order=3, mode="nearest") for s in shift])
        change = moved - self.pattern[0] + amount[:, None, None] * self.pattern[1]
        return np.asarray(1.0 + self.size / np.sqrt(2.0) * change)

    def truth(self) -> dict[str, object]:
        """Return plain facts for the truth."""
        return {"rms": self.size, "rows_moved": self.states[:, :, 0].tolist(), "amount": self.states[:, :, 1].tolist()}


def make_bands(
    size: float, shape: tuple[int, int], scans: int, angles: int, stream: Callable[..., np.random.Generator]
) -> Bands:
    """Draw the bands of a series.

    Parameters
    ----------
    size : float
        R.m.s. share of the light by which the profile deviates from its mean in time.
    shape : (row, column)
    scans, angles : int
    stream : function
        The random stream of the patterns, and with a number that of one scan: what a scan sees does not depend on
        how many follow.
    """
    rng = stream()
    pattern = np.stack([_pattern(shape, rng) for _ in range(2)])
    moving = np.gradient(pattern[0], axis=0)
    step = float(1.0 / np.sqrt(np.mean(moving**2)))
    states = _walk(scans, angles, stream)
    states[:, :, 0] *= step
    return Bands(pattern, states, step, size)


def _pattern(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Bands along the rows whose height changes slowly across the field; mean 0 and r.m.s. 1."""
    ends = scipy.ndimage.gaussian_filter1d(rng.normal(size=(shape[0], 2)), WIDTH, axis=0, mode="nearest")
    common = scipy.ndimage.gaussian_filter1d(rng.normal(size=(shape[0], 1)), WIDTH, axis=0, mode="nearest")
    across = np.linspace(0.0, 1.0, shape[1])
    bands = common + 0.3 * (ends[:, :1] * (1 - across) + ends[:, 1:] * across)
    bands -= bands.mean()
    return np.asarray(bands / np.sqrt(np.mean(bands**2)))


def _walk(scans: int, angles: int, stream: Callable[..., np.random.Generator]) -> Array:
    """Return states of unit variance (scan, angle + 2, 2)."""
    inside = np.exp(-1.0 / (MEMORY * angles))
    between = np.exp(-PAUSE / MEMORY)
    states = np.empty((scans, angles + 2, 2))
    for k in range(scans):
        kicks = stream(k).normal(size=(angles + 2, 2))
        for m in range(angles + 2):
            kept = inside if m else (between if k else 0.0)
            before: Array | Sequence[float] = states[k, m - 1] if m else (states[k - 1, -1] if k else np.zeros(2))
            states[k, m] = kept * np.asarray(before) + np.sqrt(1.0 - kept**2) * kicks[m]
    return states
