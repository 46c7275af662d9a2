"""The distribution of relaxation times of an impedance spectrum, by Tikhonov regularisation without negative parts.

``Z = R0 + i w L + 1/(i w C) + sum_k R_k / (1 + i w tau_k)`` on an even grid of ln tau. Unknown are R0, L, 1/C and every
R_k, none of them negative; the second difference of R_k is held small. How small follows from generalised
cross-validation, with the parameters that are not zero counted as free. Peaks with their areas come from `elements`;
their errors from a bootstrap of the residuals.

References: Ciucci, Chen, Electrochim. Acta 167, 439 (2015) (regularised distributions); Golub, Heath, Wahba,
Technometrics 21, 215 (1979) (cross-validation); Efron, Tibshirani, *An Introduction to the Bootstrap* (1993).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from xct_pipeline.electrochemistry.elements import Elements, fit_elements
from xct_pipeline.electrochemistry.kramers_kronig import KramersKronig, kramers_kronig, stacked
from xct_pipeline.electrochemistry.spectrum import Spectrum

Array = npt.NDArray[np.float64]

PER_DECADE = 12
"""Grid points per decade of tau."""
MARGIN_DECADES = 1.0
"""How far the grid reaches beyond the times that the frequencies see."""
STRENGTHS = np.logspace(-2.5, 0.5, 7)
"""Strengths of the regularisation that are tried."""
OTHERWISE, SEEN = 2.5, 0.005
"""A misfit beyond so many residuals of the Kramers-Kronig test, and this, is told."""
SMOOTHEST = 1.1
"""Of strengths whose cross-validation is within this factor of the best, the largest is taken."""


@dataclass(frozen=True)
class Peak:
    """A peak of the distribution, with standard errors.

    Attributes
    ----------
    tau_s, tau_sigma_s : float
    resistance_ohm, resistance_sigma_ohm : float
    exponent : float
        1 for a single relaxation time.
    kind : {"arc", "diffusion"}
        A diffusion is a row of peaks, of which `tau_s` is the longest and highest.
    resolved : bool
        Its time lies within those that the frequencies see.
    """

    tau_s: float
    tau_sigma_s: float
    resistance_ohm: float
    resistance_sigma_ohm: float
    exponent: float
    kind: str
    resolved: bool


@dataclass(frozen=True)
class Relaxation:
    """What a spectrum says.

    Attributes
    ----------
    tau_s, distribution_ohm : numpy.ndarray
        Grid, and resistance per unit of ln tau.
    series_resistance_ohm, polarisation_resistance_ohm : float
        With `series_sigma_ohm` and `polarisation_sigma_ohm`; the second is the sum of all peaks.
    inductance_H : float
    capacitance_F : float
        In series; infinite where the spectrum ends in an arc.
    strength : float
        Of the regularisation.
    rule : str
        How it was chosen.
    peaks : tuple of Peak
        From short to long times.
    misfit : float
        Root of the mean square of the relative residual of the elements.
    test : KramersKronig
    notes : tuple of str
    """

    tau_s: Array
    distribution_ohm: Array
    series_resistance_ohm: float
    series_sigma_ohm: float
    polarisation_resistance_ohm: float
    polarisation_sigma_ohm: float
    inductance_H: float
    capacitance_F: float
    strength: float
    rule: str
    peaks: tuple[Peak, ...]
    misfit: float
    test: KramersKronig
    notes: tuple[str, ...] = ()


def relaxation(spectrum: Spectrum, *, bootstrap: int = 200, seed: int = 0) -> Relaxation:
    """Return distribution, peaks, resistances and the quality of a spectrum.

    Parameters
    ----------
    spectrum : Spectrum
    bootstrap : int
        Draws of the residuals; each is carried to the parameters by one step of Gauss and Newton.
    seed : int
        Of the draws.

    Raises
    ------
    ValueError
        The imaginary part has the wrong sign.
    """
    refuse_turned(spectrum)
    with _blas().limit(limits=1, user_api="blas"):  # for matrices this small threads only wait for each other
        return _relaxation(spectrum, bootstrap, seed)


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _relaxation(spectrum: Spectrum, bootstrap: int, seed: int) -> Relaxation:
    test = kramers_kronig(spectrum)
    found = fit_elements(spectrum)
    tau, values, strength = distribution(spectrum, found.elastance_1_F > 0)
    spread = _bootstrap(found, bootstrap, seed)
    w = 2 * np.pi * spectrum.frequency_Hz
    misfit = float(np.sqrt(np.mean(found.residual**2)))
    peaks = tuple(
        Peak(
            float(t),
            float(t * spread[4 + 3 * k]),
            float(r),
            float(spread[3 + 3 * k]),
            float(a),
            "diffusion" if d else "arc",
            bool(1 / w.max() <= t <= 1 / w.min()),
        )
        for k, (r, t, a, d) in enumerate(
            zip(found.resistance_ohm, found.tau_s, found.exponent, found.diffusion, strict=True)
        )
    )
    return Relaxation(
        tau,
        values,
        found.series_ohm,
        float(spread[0]),
        float(found.resistance_ohm.sum()),
        float(spread[-1]),
        found.inductance_H,
        1 / found.elastance_1_F if found.elastance_1_F > 0 else np.inf,
        strength,
        "generalised cross-validation",
        peaks,
        misfit,
        test,
        _notes(spectrum, test, peaks, misfit),
    )


def _notes(spectrum: Spectrum, test: KramersKronig, peaks: tuple[Peak, ...], misfit: float) -> tuple[str, ...]:
    notes = list(spectrum.notes)
    if test.violated:
        notes.append(
            f"violates Kramers-Kronig: a residual of {100 * test.residual:.2g} % where the noise is "
            f"{100 * test.scatter:.2g} %; the cell changed during the measurement, or did not answer linearly"
        )
    if misfit > max(OTHERWISE * test.residual, SEEN) and not test.violated:
        notes.append(
            f"arcs and diffusion leave {100 * misfit:.2g} % of the impedance where other circuits leave "
            f"{100 * test.residual:.2g} %: something else is in it, such as an inductive loop"
        )
    if any(not peak.resolved for peak in peaks):
        notes.append("a peak lies beyond the times that the frequencies see: its resistance is extrapolated")
    return tuple(notes)


def refuse_turned(spectrum: Spectrum) -> None:
    """Refuse a spectrum whose imaginary part has the sign of a Nyquist plot, where its real part says otherwise.

    Where resistance rises towards low frequency the imaginary part is negative (Kramers-Kronig in sign).

    Raises
    ------
    ValueError
        It is turned.
    """
    z, log_w = spectrum.impedance_ohm, np.log(spectrum.frequency_Hz)
    slope = -np.gradient(z.real, log_w)  # positive where the real part rises towards low frequency
    if float(slope @ z.imag) <= 0 or float(z.imag[slope > 0].sum()) <= 0:
        return
    share = np.abs(slope[z.imag > 0]).sum() / np.abs(slope).sum()
    if share > 0.8:
        raise ValueError(
            f"{spectrum.name}: the imaginary part is positive where the resistance rises towards low frequencies, so "
            f"its sign is turned: name the column -Im, or set turned = true"
        )


def distribution(spectrum: Spectrum, blocking: bool = False) -> tuple[Array, Array, float]:
    """Return tau (s), the distribution (ohm per unit of ln tau) and the strength of the regularisation.

    Parameters
    ----------
    blocking : bool
        Whether a capacitance in series is among the unknowns.
    """
    w, z = 2 * np.pi * spectrum.frequency_Hz, spectrum.impedance_ohm
    weight = 1 / np.abs(z)
    low, high = -np.log10(w.max()) - MARGIN_DECADES, -np.log10(w.min()) + MARGIN_DECADES
    tau = np.logspace(low, high, round((high - low) * PER_DECADE) + 1)
    lumped = [np.ones_like(w) + 0j, 1j * w, *([1 / (1j * w)] if blocking else [])]
    left = stacked(np.column_stack([*lumped, 1 / (1 + 1j * np.outer(w, tau))]), weight)
    left = left / np.where(np.arange(left.shape[1]) < len(lumped), np.linalg.norm(left, axis=0), 1.0)
    right = stacked(z, weight)
    count = len(tau)
    from scipy.optimize import nnls  # half a second that only spectra need

    second = np.diff(np.eye(count + 2), 2, axis=0)[:, 1:-1]
    # the triangle of the least squares holds all that the data say
    triangle = np.linalg.qr(np.column_stack([left, right]), mode="r")
    rest = np.concatenate([np.zeros((count, len(lumped))), second], 1)
    found: list[tuple[float, Array, float]] = []
    for strength in STRENGTHS:
        stack = np.concatenate([triangle, np.column_stack([strength * rest, np.zeros(count)])])
        x = nnls(stack[:, :-1], stack[:, -1], maxiter=50 * stack.shape[1])[0]
        found.append((_validation(left, right, rest, x, float(strength)), x, float(strength)))
    best = min(score for score, _, _ in found)
    _, x, strength = [entry for entry in found if entry[0] <= SMOOTHEST * best][-1]
    return tau, x[len(lumped) :] / np.log(tau[1] / tau[0]), strength


def _validation(left: Array, right: Array, rest: Array, x: Array, strength: float) -> float:
    """Return the generalised cross-validation of a solution, on the parameters that are not zero."""
    used = left[:, x > 0]
    penalty = strength * rest[:, x > 0]
    gram = used.T @ used
    freedom = float(np.trace(np.linalg.lstsq(gram + penalty.T @ penalty, gram, rcond=None)[0]))
    residual = right - left @ x
    return float(residual @ residual) / max(len(right) - freedom, 1.0) ** 2


def _bootstrap(found: Elements, draws: int, seed: int) -> Array:
    """Return the standard error of each parameter (R0, L, 1/C, then R, ln tau, exponent), and last of the sum of R."""
    rng = np.random.default_rng(seed)
    count = len(found.residual)
    free = found.free & np.any(found.jacobian != 0, axis=0)  # the time of an element without resistance is nowhere
    used = found.jacobian[:, free]
    size = np.linalg.norm(used, axis=0)
    inverse = np.linalg.pinv(used / size, rcond=1e-12)
    # residuals are smaller than errors by what the fit took up
    scale = np.sqrt(count / max(count - used.shape[1], 1))
    drawn = found.residual[rng.integers(0, count, (draws, count))] * scale * rng.choice([-1.0, 1.0], (draws, count))
    steps = np.zeros((draws, found.jacobian.shape[1]))
    steps[:, free] = drawn @ inverse.T / size
    total = steps[:, 3::3].sum(axis=1)
    return np.append(steps.std(axis=0), total.std())
