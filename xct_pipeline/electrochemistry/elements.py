"""Peaks of a distribution of relaxation times as elements, fitted to the spectrum itself.

``Z = R0 + i w L + [1/(i w C)] + sum R_k / (1 + (i w tau_k)^a_k) + [R_d tanh(x)/x, x = (i w tau_d)^1/2]``: each arc
(ZARC) is a peak of the distribution, symmetric in ln tau (Cole and Cole), whose area is R_k; the last is diffusion
through a layer of finite length (Warburg), a row of peaks that no few arcs describe. The regularised distribution is
too wide where a peak is narrow and splits where it is wide, so positions and areas are not taken from it. Elements are
added where the residual asks for one most, as long as the Bayesian criterion falls; then the slowest are tried as
diffusion.

References: Cole, Cole, J. Chem. Phys. 9, 341 (1941); Franceschetti, Macdonald, J. Electroanal. Chem. 101, 307 (1979)
(diffusion); Schwarz, Ann. Statist. 6, 461 (1978); Levenberg, Quart. Appl. Math. 2, 164 (1944).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

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
SLOWEST = 3
"""So many of the slowest arcs, at most, are tried as one diffusion."""
DIFFUSION_TIME = 4 / np.pi**2
"""Longest relaxation time of a diffusion, in units of its tau_d = length^2 / diffusivity."""


@dataclass(frozen=True)
class Elements:
    """A fit of elements.

    Attributes
    ----------
    series_ohm, inductance_H, elastance_1_F : float
        The last is 1/C of a capacitance in series; 0 where the spectrum ends in an arc.
    resistance_ohm, tau_s, exponent : numpy.ndarray
        Of each element, from short to long times; that of a diffusion is its longest relaxation time.
    diffusion : numpy.ndarray of bool
        Elements that are a diffusion; the others are arcs.
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
    diffusion: npt.NDArray[np.bool_]
    residual: Array
    jacobian: Array
    free: npt.NDArray[np.bool_]


@dataclass
class _Problem:
    """A weighted spectrum, bounds of the parameters, and which elements are a diffusion."""

    w: Array
    weight: Array
    right: Array
    largest: float
    low: Array
    high: Array
    free: npt.NDArray[np.bool_]
    diffusion: npt.NDArray[np.bool_]

    def residual(self, x: Array) -> Array:
        share, _ = self.shares(x)
        w = self.w
        return stacked(x[0] + 1j * w * x[1] + x[2] / (1j * w) + share @ x[3::3], self.weight) - self.right

    def shares(self, x: Array) -> tuple[Complex, Complex]:
        """Return each element's share of its resistance, and the slope of the share by the logarithm of the power."""
        power: Complex = np.exp((np.log(self.w)[:, None] + 0.5j * np.pi + x[4::3]) * x[5::3])
        share: Complex = 1 / (1 + power)
        slope: Complex = -share * share * power
        for k in np.flatnonzero(self.diffusion):
            root = power[:, k]
            tanh = np.tanh(root)
            share[:, k] = tanh / root
            slope[:, k] = 1 - tanh**2 - share[:, k]
        return share, slope

    def with_element(self, span: tuple[float, float], diffusion: bool = False) -> _Problem:
        """Return the problem with room for one more element."""
        exponents = (0.5, 0.5) if diffusion else EXPONENTS
        return replace(
            self,
            low=np.concatenate([self.low, [0.0, span[0], exponents[0]]]),
            high=np.concatenate([self.high, [np.inf, span[1], exponents[1]]]),
            free=np.concatenate([self.free, [True, True, not diffusion]]),
            diffusion=np.append(self.diffusion, diffusion),
        )

    def ordered(self, order: npt.NDArray[np.intp], x: Array) -> tuple[_Problem, Array]:
        """Return the problem and a point with some of the elements, in another order."""
        keep = np.concatenate([[0, 1, 2], (3 + 3 * order[:, None] + np.arange(3)).ravel()])
        low, high, free = self.low[keep], self.high[keep], self.free[keep]
        return replace(self, low=low, high=high, free=free, diffusion=self.diffusion[order]), x[keep]


def _jacobian(problem: _Problem, x: Array) -> Array:
    w = problem.w
    share, slope = problem.shares(x)
    columns = np.empty((len(w), len(x)), complex)
    columns[:, 0], columns[:, 1], columns[:, 2] = 1, 1j * w, 1 / (1j * w)
    slope = slope * x[3::3]
    columns[:, 3::3] = share
    columns[:, 4::3] = slope * x[5::3]
    columns[:, 5::3] = slope * (np.log(w)[:, None] + 0.5j * np.pi + x[4::3])
    return stacked(columns, problem.weight)


_Fit = tuple[_Problem, Array, float]
"""A problem, the best point and its criterion."""


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
    grid, columns = _trial(spectrum)
    plain, blocking = (_grown(_started(_problem(spectrum, way)), grid, columns) for way in (False, True))
    best = blocking if blocking[2] < plain[2] - 2 * BETTER else plain
    if not best[0].free[2]:
        best = _with_diffusion(best, grid, columns)
    problem, x = best[0].ordered(np.argsort(best[1][4::3]), best[1])
    inside = (x > problem.low) & (x < problem.high)
    times = np.exp(x[4::3]) * np.where(problem.diffusion, DIFFUSION_TIME, 1.0)
    return Elements(
        float(x[0]),
        float(x[1]),
        float(x[2]),
        x[3::3],
        times,
        x[5::3],
        problem.diffusion,
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
        np.zeros(0, bool),
    )


def _trial(spectrum: Spectrum) -> tuple[Array, Array]:
    """Return ln tau at which an arc is tried, and its columns."""
    w = 2 * np.pi * spectrum.frequency_Hz
    grid = np.linspace(-np.log(w.max()) - 1.5, -np.log(w.min()) + 1.5, 61)
    power: Complex = np.exp(FIRST_EXPONENT * (np.log(w)[:, None] + 0.5j * np.pi + grid))
    shapes: Complex = 1 / (1 + power)
    return grid, stacked(shapes, 1 / np.abs(spectrum.impedance_ohm))


def _started(problem: _Problem) -> _Fit:
    """Return the fit without any element."""
    x = np.zeros(3)
    free = problem.free[:3]
    x[free] = _linear(stacked(_lumped(problem.w)[:, free], problem.weight), problem.right)
    return problem, x, _criterion(problem, x)


def _grown(best: _Fit, grid: Array, columns: Array) -> _Fit:
    """Add arcs while the criterion falls; one that does not help is tried with a second beside it."""
    problem, x, _ = best
    worse = 0
    for _ in range(MOST - len(problem.diffusion)):
        problem, x = _one_more(problem, x, grid, columns)
        x, _ = _descend(problem, x)
        criterion = _criterion(problem, x)
        if criterion < best[2] - BETTER and _determined(problem, x):
            best, worse = (problem, x, criterion), 0
        else:
            worse += 1
        if worse == 2:
            break
    return best


def _determined(problem: _Problem, x: Array) -> bool:
    """Tell whether every element lies within its bounds of time: one at their end fits what is left beyond the data."""
    return bool(((x > problem.low) & (x < problem.high))[4::3].all())


def _with_diffusion(best: _Fit, grid: Array, columns: Array) -> _Fit:
    """Try the slowest arcs as one diffusion, with arcs added as before; return the better fit."""
    problem, x, _ = best
    order = np.argsort(x[4::3])
    tried = []
    for count in range(1, min(SLOWEST, len(order)) + 1):
        kept, slow = order[:-count], 3 * order[-count:]
        start, point = problem.ordered(kept, x)
        start = start.with_element((float(grid[0]), float(grid[-1])), True)
        ln_tau = x[4::3].max() - np.log(DIFFUSION_TIME)
        point, _ = _descend(start, np.concatenate([point, [x[3 + slow].sum(), ln_tau, 0.5]]))
        if _determined(start, point):
            tried.append((start, point, _criterion(start, point)))
    if not tried:
        return best
    diffusion = _grown(min(tried, key=lambda fit: fit[2]), grid, columns)
    more = len(diffusion[0].diffusion) > len(problem.diffusion)  # an element more has to be worth it, as any other
    return diffusion if diffusion[2] < best[2] - (BETTER if more else 0.0) else best


def _lumped(w: Array) -> Complex:
    return np.stack([np.ones_like(w) + 0j, 1j * w, 1 / (1j * w)], 1)


def _linear(left: Array, right: Array) -> Array:
    """Return the non-negative least squares of columns of very different size."""
    size = np.linalg.norm(left, axis=0)
    from scipy.optimize import nnls  # half a second that only spectra need

    found: Array = np.asarray(nnls(left / size, right)[0], np.float64) / size
    return found


def _criterion(problem: _Problem, x: Array) -> float:
    residual = problem.residual(x)
    count = len(residual)
    return float(count * np.log(float(residual @ residual) / count + 1e-30) + problem.free.sum() * np.log(count))


def _one_more(problem: _Problem, x: Array, grid: Array, columns: Array) -> tuple[_Problem, Array]:
    """Add the element that lowers the residual most with all resistances free."""
    share, _ = problem.shares(x)
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
    span = (float(grid[0]), float(grid[-1]))
    return problem.with_element(span), np.concatenate([start, [resistance, grid[k], FIRST_EXPONENT]])
