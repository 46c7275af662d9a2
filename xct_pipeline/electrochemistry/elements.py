"""Peaks of a distribution of relaxation times as ZARC elements, fitted to the spectrum itself.

``Z = R0 + i w L + [1/(i w C)] + sum R_k / (1 + (i w tau_k)^a_k)``: each element is a peak of the distribution,
symmetric in ln tau (Cole and Cole), whose area is R_k. The regularised distribution is too wide where a peak is narrow
and splits where it is wide, so positions and areas are not taken from it. Elements are added where the residual asks
for one most, as long as the Bayesian criterion falls.

References: Cole, Cole, J. Chem. Phys. 9, 341 (1941); Schwarz, Ann. Statist. 6, 461 (1978); Levenberg, Quart. Appl.
Math. 2, 164 (1944).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize

from xct_pipeline.electrochemistry.kramers_kronig import stacked
from xct_pipeline.electrochemistry.spectrum import Spectrum

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

MOST = 6
"""Elements at most."""
EXPONENTS = (0.45, 1.0)
FIRST_EXPONENT = 0.9
BETTER = 6.0
"""What the criterion has to fall by for one more element."""
ITERATIONS = 80


@dataclass(frozen=True)
class Elements:
    """A fit of elements.

    Attributes
    ----------
    series_ohm, inductance_H, elastance_1_F : float
        The last is 1/C of a capacitance in series; 0 where the spectrum ends in an arc.
    resistance_ohm, tau_s, exponent : numpy.ndarray
        Of each element, from short to long times.
    residual : numpy.ndarray
        Weighted by 1/|Z|, real above imaginary parts.
    jacobian : numpy.ndarray
        Of the weighted spectrum by (R0, L, 1/C, then R, ln tau, exponent of each element).
    free : numpy.ndarray of bool
        Parameters that lie at no bound.
    """

    series_ohm: float
    inductance_H: float
    elastance_1_F: float
    resistance_ohm: Array
    tau_s: Array
    exponent: Array
    residual: Array
    jacobian: Array
    free: npt.NDArray[np.bool_]

    def impedance(self, frequency_Hz: Array) -> Complex:
        """Return the impedance of the elements, ohm."""
        w = 2 * np.pi * frequency_Hz
        return _model(w, self._vector())[0]

    def _vector(self) -> Array:
        peaks = np.stack([self.resistance_ohm, np.log(self.tau_s), self.exponent], 1).ravel()
        return np.array([self.series_ohm, self.inductance_H, self.elastance_1_F, *peaks])


@dataclass
class _Problem:
    """A weighted spectrum, and bounds of the parameters."""

    w: Array
    weight: Array
    right: Array
    largest: float
    low: Array
    high: Array
    free: npt.NDArray[np.bool_]

    def residual(self, x: Array) -> Array:
        return stacked(_model(self.w, x)[0], self.weight) - self.right

    def with_element(self, span: tuple[float, float]) -> _Problem:
        """Return the problem with room for one more element."""
        return _Problem(
            self.w,
            self.weight,
            self.right,
            self.largest,
            np.concatenate([self.low, [0.0, span[0], EXPONENTS[0]]]),
            np.concatenate([self.high, [np.inf, span[1], EXPONENTS[1]]]),
            np.concatenate([self.free, [True, True, True]]),
        )


def _model(w: Array, x: Array) -> tuple[Complex, Complex, Complex]:
    """Return the impedance, each element's share of its resistance, and ``(i w tau)^a``."""
    power: Complex = np.exp((np.log(w)[:, None] + 0.5j * np.pi + x[4::3]) * x[5::3])
    share: Complex = 1 / (1 + power)
    impedance: Complex = x[0] + 1j * w * x[1] + x[2] / (1j * w) + share @ x[3::3]
    return impedance, share, power


def _jacobian(problem: _Problem, x: Array) -> Array:
    w = problem.w
    _, share, power = _model(w, x)
    columns = np.empty((len(w), len(x)), complex)
    columns[:, 0], columns[:, 1], columns[:, 2] = 1, 1j * w, 1 / (1j * w)
    slope = -share * share * power * x[3::3]
    columns[:, 3::3] = share
    columns[:, 4::3] = slope * x[5::3]
    columns[:, 5::3] = slope * (np.log(w)[:, None] + 0.5j * np.pi + x[4::3])
    return stacked(columns, problem.weight)


def _descend(problem: _Problem, x: Array) -> tuple[Array, float]:
    """Minimise the sum of squares from `x` within the bounds (Levenberg, Marquardt); return it and the point."""
    residual = problem.residual(x)
    cost, damping = float(residual @ residual), 1e-3
    for _ in range(ITERATIONS):
        jacobian = _jacobian(problem, x)
        gradient = jacobian.T @ residual
        held = ((x <= problem.low) & (gradient > 0)) | ((x >= problem.high) & (gradient < 0))
        moving = np.flatnonzero(problem.free & ~held)
        size = np.linalg.norm(jacobian[:, moving], axis=0) + 1e-150  # henry beside ohm: columns of equal length
        scaled = jacobian[:, moving] / size
        normal, downhill = scaled.T @ scaled, -gradient[moving] / size
        for _ in range(8):
            trial = x.copy()
            trial[moving] += np.linalg.solve(normal + damping * np.eye(len(moving)), downhill) / size
            trial = np.clip(trial, problem.low, problem.high)
            left = problem.residual(trial)
            if float(left @ left) < cost:
                break
            damping *= 6
        else:
            return x, cost
        gained = cost - float(left @ left)
        x, residual, cost = trial, left, cost - gained
        damping = max(damping / 5, 1e-9)
        if gained < 1e-7 * cost:
            break
    return x, cost


def fit_elements(spectrum: Spectrum) -> Elements:
    """Fit as many elements as a spectrum shows, without and with a capacitance in series; the better is kept."""
    fits = [_grown(_problem(spectrum, blocking)) for blocking in (False, True)]
    (problem, x, criterion), (blocking, x_blocking, with_capacitance) = fits
    if with_capacitance < criterion - 2 * BETTER:
        problem, x = blocking, x_blocking
    order = np.argsort(x[4::3])
    x = np.concatenate([x[:3], np.stack([x[3::3], x[4::3], x[5::3]], 1)[order].ravel()])
    inside = (x > problem.low) & (x < problem.high)
    return Elements(
        float(x[0]),
        float(x[1]),
        float(x[2]),
        x[3::3],
        np.exp(x[4::3]),
        x[5::3],
        problem.residual(x),
        _jacobian(problem, x),
        problem.free & inside,
    )


def _problem(spectrum: Spectrum, blocking: bool) -> _Problem:
    w, z = 2 * np.pi * spectrum.frequency_Hz, spectrum.impedance_ohm
    weight = 1 / np.abs(z)
    return _Problem(
        w,
        weight,
        stacked(z, weight),
        float(np.abs(z).max()),
        np.zeros(3),
        np.full(3, np.inf),
        np.array([True, True, blocking]),
    )


def _grown(problem: _Problem) -> tuple[_Problem, Array, float]:
    """Add elements while the criterion falls; one that does not help is tried with a second beside it."""
    w, count = problem.w, len(problem.right)
    grid = np.linspace(-np.log(w.max()) - 1.5, -np.log(w.min()) + 1.5, 61)
    power: Complex = np.exp(FIRST_EXPONENT * (np.log(w)[:, None] + 0.5j * np.pi + grid))
    shapes: Complex = 1 / (1 + power)
    columns = stacked(shapes, problem.weight)
    x = np.zeros(3)
    x[problem.free] = _linear(stacked(_lumped(w)[:, problem.free], problem.weight), problem.right)
    best = problem, x, _criterion(problem, x, count)
    worse = 0
    for _ in range(MOST):
        problem, x = _one_more(problem, x, grid, columns)
        x, _ = _descend(problem, x)
        criterion = _criterion(problem, x, count)
        if criterion < best[2] - BETTER:
            best, worse = (problem, x, criterion), 0
        else:
            worse += 1
        if worse == 2:
            break
    return best


def _lumped(w: Array) -> Complex:
    return np.stack([np.ones_like(w) + 0j, 1j * w, 1 / (1j * w)], 1)


def _linear(left: Array, right: Array) -> Array:
    """Return the non-negative least squares of columns of very different size."""
    size = np.linalg.norm(left, axis=0)
    found: Array = np.asarray(scipy.optimize.nnls(left / size, right)[0], np.float64) / size
    return found


def _criterion(problem: _Problem, x: Array, count: int) -> float:
    residual = problem.residual(x)
    return float(count * np.log(float(residual @ residual) / count + 1e-30) + problem.free.sum() * np.log(count))


def _one_more(problem: _Problem, x: Array, grid: Array, columns: Array) -> tuple[_Problem, Array]:
    """Add the element that lowers the residual most with all resistances free."""
    _, share, _ = _model(problem.w, x)
    lumped = np.flatnonzero(problem.free[:3])
    left = stacked(np.concatenate([_lumped(problem.w)[:, lumped], share], 1), problem.weight)
    basis = np.linalg.qr(left / np.linalg.norm(left, axis=0))[0]
    outside = columns - basis @ (basis.T @ columns)
    residual = -problem.residual(x)
    k = int(np.argmax(outside.T @ residual / np.sqrt((outside**2).sum(axis=0) + 1e-12)))
    found = _linear(np.column_stack([left, columns[:, k]]), problem.right)
    start = x.copy()
    start[lumped], start[3::3] = found[: len(lumped)], found[len(lumped) : -1]
    resistance = max(float(found[-1]), 1e-3 * problem.largest)
    span = (float(grid[0]) - 3, float(grid[-1]) + 3)
    return problem.with_element(span), np.concatenate([start, [resistance, grid[k], FIRST_EXPONENT]])
