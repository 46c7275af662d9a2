"""An impedance spectrum: frequencies and a complex impedance, checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

FEWEST = 8
"""Frequencies that a spectrum needs."""
APART = 0.05
"""Share by which impedances at one frequency may differ from their mean."""


@dataclass(frozen=True)
class Spectrum:
    """Impedance against frequency.

    Attributes
    ----------
    name : str
        File, and position where it holds several.
    frequency_Hz : numpy.ndarray of float64
        From high to low, each once.
    impedance_ohm : numpy.ndarray of complex128
        ``Re Z + i Im Z``; the imaginary part is negative for a capacitance.
    time_s : float
        Since the file's own time 0; NaN where it has none.
    start : datetime or None
        Of the file's time 0.
    notes : tuple of str
    """

    name: str
    frequency_Hz: npt.NDArray[np.float64]
    impedance_ohm: npt.NDArray[np.complex128]
    time_s: float = np.nan
    start: datetime | None = None
    notes: tuple[str, ...] = ()


def spectrum_of(
    name: str,
    frequency: npt.ArrayLike,
    impedance: npt.ArrayLike,
    *,
    time_s: float = np.nan,
    start: datetime | None = None,
) -> Spectrum:
    """Check and order a spectrum.

    Raises
    ------
    ValueError
        Too few frequencies, one that occurs again, or a negative real part.
    """
    f, z = np.asarray(frequency, np.float64), np.asarray(impedance, np.complex128)
    keep = np.isfinite(f) & np.isfinite(z) & (f > 0)
    missing = int((np.isfinite(f) & (f > 0) & ~keep).sum())
    notes: tuple[str, ...] = (f"{missing} frequencies without an impedance were left out",) if missing else ()
    f, z = f[keep], z[keep]
    f, z, told = _averaged(name, f, z)
    notes += told
    if len(f) < FEWEST:
        raise ValueError(f"{name} holds {len(f)} frequencies; a spectrum needs at least {FEWEST}")
    order = np.argsort(-f, kind="stable")
    if not (np.all(np.diff(f) < 0) or np.all(np.diff(f) > 0)):
        if len(np.unique(f)) < len(f):
            twice = f[order][1:][np.diff(f[order]) == 0][0]
            raise ValueError(
                f"{name}: {twice:g} Hz occurs more than once and the frequencies are not in order; give one spectrum "
                f"per file, or a column of the cycle"
            )
        notes += ("the frequencies were not in order and were sorted",)
    f, z = f[order], z[order]
    if not np.abs(z).all():
        raise ValueError(f"{name}: the impedance is zero at {f[np.abs(z) == 0][0]:g} Hz: nothing was measured there")
    negative = z.real < 0
    if negative.any():
        k = int(np.argmax(negative))
        raise ValueError(
            f"{name}: the real part is negative ({z[k].real:.4g} ohm at {f[k]:g} Hz), which no passive cell shows: "
            f"check the columns and their signs"
        )
    return Spectrum(name, f, z, time_s, start, notes)


def _averaged(
    name: str, f: npt.NDArray[np.float64], z: npt.NDArray[np.complex128]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.complex128], tuple[str, ...]]:
    """Average what was measured at one frequency several times in a row.

    Raises
    ------
    ValueError
        It differs by more than 5 %.
    """
    steps = np.diff(f)
    if not (steps == 0).any() or not (np.all(steps <= 0) or np.all(steps >= 0)):
        return f, z, ()
    first = np.flatnonzero(np.concatenate([[True], steps != 0]))
    count = np.diff(np.append(first, len(f)))
    mean = np.asarray(np.add.reduceat(z, first) / count, np.complex128)
    apart = np.abs(z - np.repeat(mean, count)) / np.maximum(np.abs(np.repeat(mean, count)), 1e-300)
    k = int(np.argmax(apart))
    if apart[k] > APART:
        raise ValueError(
            f"{name}: {f[k]:g} Hz occurs more than once, with impedances {100 * apart[k]:.2g} % from their mean; give "
            f"one spectrum per file, or a column of the cycle"
        )
    said = (
        f"{int((count > 1).sum())} frequencies occur more than once and were averaged (within {100 * apart[k]:.2g} %)"
    )
    return f[first], mean, (said,)
