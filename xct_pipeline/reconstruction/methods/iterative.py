"""Reconstructions that iterate, for few projections and low dose: SIRT, CGLS and total variation.

All use the matched projector pair of ``projector``, sixteen slices at a time; a slice does not depend on the others of
its group. Residuals may be weighted by what counts say about each ray, and a reconstruction may start from another one,
that of the scan before in a series for instance.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from xct_pipeline.reconstruction.gridding import GROUP
from xct_pipeline.reconstruction.methods.common import Method, Options, check_shapes, per_cm
from xct_pipeline.reconstruction.projector import Angles, Floats, back_project, project
from xct_pipeline.scan import Axis

Algorithm = Literal["SIRT", "CGLS", "TV"]


def reconstruct_iterative(
    sinograms: Floats,
    angles: Angles,
    *,
    center: float,
    size: int | None = None,
    pixel_size_um: float | None = None,
    algorithm: Algorithm = "SIRT",
    iterations: int = 100,
    regularization: float = 0.0,
    nonnegative: bool = False,
    weights: Floats | None = None,
    start: Floats | None = None,
) -> Floats:
    """Reconstruct slices by iteration.

    SIRT (Gilbert 1972; van der Sluis and van der Vorst 1990) converges slowly and smoothly: stopping early is its
    regularisation. CGLS (Hestenes and Stiefel 1952; Bjorck 1996) takes some ten iterations and then fits noise. TV
    minimises ``sum w (A f - p)^2 / 2 + regularization * TV(f)`` by the primal-dual method of Chambolle and Pock (2011)
    with the diagonal steps of Pock and Chambolle (2011); TV is isotropic, within each slice.

    Parameters
    ----------
    sinograms : (angle, row, column) float32
        Line integrals, all finite.
    angles : (angle,) radians
        Any.
    center : float
        Column of the rotation axis; it falls on (size - 1) / 2.
    size : int, optional
        Pixels of the image along x and y, default the number of columns.
    pixel_size_um : float, optional
        Without it the result is in 1/pixel.
    algorithm : {'SIRT', 'CGLS', 'TV'}
    iterations : int
    regularization : float
        Of TV, in line integral (that of SIRT and CGLS is when they are stopped).
    nonnegative : bool
        Keep the image at or above 0; not with CGLS.
    weights : (angle, row, column) float32, optional
        Of the squared residuals: the variance of a line integral of n counts is 1 / n, so n over its mean is good.
    start : (z, y, x) float32, optional
        Where to begin, in the unit of the result; zero by default.

    Returns
    -------
    (z, y, x) float32
        1/cm (1/pixel without `pixel_size_um`).

    Raises
    ------
    ValueError
        Shapes do not match, the centre lies outside the detector, a value is not finite, or an option does not fit
        the algorithm.
    """
    _check(sinograms, angles, center, algorithm, regularization, nonnegative)
    n_rows, n_columns = sinograms.shape[1:]
    size = n_columns if size is None else size
    unit = np.float32(per_cm(pixel_size_um))
    out = np.empty((n_rows, size, size), np.float32)
    for first in range(0, n_rows, GROUP):
        rows = slice(first, min(first + GROUP, n_rows))
        problem = _Problem(
            _innermost(sinograms[:, rows]),
            angles,
            center,
            size,
            None if weights is None else _innermost(weights[:, rows]),
        )
        image = np.zeros((size, size, GROUP), np.float32)
        if start is not None:
            image[..., : rows.stop - first] = np.moveaxis(start[rows], 0, -1) / unit
        match algorithm:
            case "SIRT":
                image = _sirt(problem, image, iterations, nonnegative)
            case "CGLS":
                image = _cgls(problem, image, iterations)
            case "TV":
                image = _total_variation(problem, image, iterations, regularization, nonnegative)
        out[rows] = np.moveaxis(image, -1, 0)[: rows.stop - first] * unit
    return out


def scratch_bytes(n_angles: int, n_columns: int, size: int, algorithm: Algorithm = "TV") -> int:
    """Return an upper bound of the memory that one group of sixteen rows takes, its result included."""
    images, data = {"SIRT": (6, 6), "CGLS": (6, 6), "TV": (14, 7)}[algorithm]
    return 4 * GROUP * (images * (size + 2) ** 2 + data * n_angles * (n_columns + 2))


def _check(
    sinograms: Floats, angles: Angles, center: float, algorithm: str, regularization: float, nonnegative: bool
) -> None:
    check_shapes(sinograms, angles, center)
    if not np.isfinite(sinograms).all():
        raise ValueError("sinograms hold values that are not finite")
    if algorithm not in ("SIRT", "CGLS", "TV"):
        raise ValueError(f"unknown algorithm {algorithm!r}: SIRT, CGLS or TV")
    if (algorithm == "TV") != (regularization > 0):
        raise ValueError("TV needs a regularization above 0, and only TV has one")
    if nonnegative and algorithm == "CGLS":
        raise ValueError("CGLS cannot keep values at or above 0: choose SIRT or TV")


def _innermost(rows: Floats) -> Floats:
    """Return up to sixteen sinograms (angle, row, column) as (angle, column, 16), missing ones as zeros."""
    out = np.zeros((rows.shape[0], rows.shape[2], GROUP), np.float32)
    out[..., : rows.shape[1]] = np.moveaxis(rows, 1, -1)
    return out


class _Problem:
    """Sixteen sinograms, the projector that explains them, and how much each ray counts."""

    def __init__(self, data: Floats, angles: Angles, center: float, size: int, weights: Floats | None) -> None:
        self.data, self.weights = data, weights
        self.angles, self.center, self.size = np.asarray(angles, np.float64), center, size

    def project(self, image: Floats) -> Floats:
        return project(image, self.angles, center=self.center, columns=self.data.shape[1])

    def spread(self, data: Floats) -> Floats:
        return back_project(data, self.angles, center=self.center, size=self.size)

    def sums(self) -> tuple[Floats, Floats]:
        """Return the weights' sums along each ray (angle, column, 1) and over each pixel (y, x, 1)."""
        one = np.zeros((1, 1, GROUP), np.float32)
        one[..., 0] = 1
        rays = self.project(np.broadcast_to(one, (self.size, self.size, GROUP)))[..., :1]
        pixels = self.spread(np.broadcast_to(one, self.data.shape))[..., :1]
        return np.ascontiguousarray(rays), np.ascontiguousarray(pixels)


def _inverse(values: Floats) -> Floats:
    """Return 1 / values, and 0 where a ray meets no pixel or a pixel no ray."""
    return np.divide(1, values, out=np.zeros_like(values), where=values > 1e-6 * values.max())


def _sirt(problem: _Problem, image: Floats, iterations: int, nonnegative: bool) -> Floats:
    rays, pixels = problem.sums()
    per_ray, per_pixel = _inverse(rays), _inverse(pixels)
    if problem.weights is not None:
        # weighted rays count less in the sums over pixels too, which keeps the step below 2
        per_ray = per_ray * problem.weights
        per_pixel = _inverse(problem.spread(rays * per_ray))
    for _ in range(iterations):
        residual = problem.project(image)
        np.subtract(problem.data, residual, out=residual)
        residual *= per_ray
        image += per_pixel * problem.spread(residual)
        if nonnegative:
            np.maximum(image, 0, out=image)
    return image


def _cgls(problem: _Problem, image: Floats, iterations: int) -> Floats:
    root = 1.0 if problem.weights is None else np.sqrt(problem.weights)
    residual = (problem.data - problem.project(image)) * root
    gradient = problem.spread(residual * root)
    direction, before = gradient.copy(), _squares(gradient)
    for _ in range(iterations):
        along = problem.project(direction) * root
        step = _ratio(before, _squares(along))
        image += step * direction
        residual -= step * along
        gradient = problem.spread(residual * root)
        now = _squares(gradient)
        direction = gradient + _ratio(now, before) * direction
        before = now
    return image


def _squares(values: Floats) -> npt.NDArray[np.float64]:
    """Return the sum of squares of each slice (16,)."""
    return np.asarray(np.einsum("ijs,ijs->s", values, values, dtype=np.float64))


def _ratio(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Floats:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0).astype(np.float32)


def _total_variation(
    problem: _Problem, image: Floats, iterations: int, regularization: float, nonnegative: bool
) -> Floats:
    rays, pixels = problem.sums()
    weights: Floats = np.ones_like(rays) if problem.weights is None else problem.weights
    sigma = _inverse(rays)
    sigma_edge, tau = np.float32(0.5), (1 / (pixels + 4)).astype(np.float32)
    dual = np.zeros_like(problem.data)
    edges = np.zeros((2, *image.shape), np.float32)
    ahead = image.copy()
    for _ in range(iterations):
        dual += sigma * (problem.project(ahead) - problem.data)
        dual *= weights / (weights + sigma)
        _add_gradient(edges, ahead, sigma_edge)
        length = np.sqrt(edges[0] ** 2 + edges[1] ** 2)
        edges /= np.maximum(1, length / np.float32(regularization))
        before = image
        image = before - tau * (problem.spread(dual) - _divergence(edges))
        if nonnegative:
            np.maximum(image, 0, out=image)
        ahead = 2 * image - before
    return image


def _add_gradient(edges: Floats, image: Floats, step: np.float32) -> None:
    """Add `step` times the forward differences along y and x, which are 0 at the far edge."""
    edges[0, :-1] += step * (image[1:] - image[:-1])
    edges[1, :, :-1] += step * (image[:, 1:] - image[:, :-1])


def _divergence(edges: Floats) -> Floats:
    """Return minus the transpose of the forward differences."""
    out: Floats = edges[0] + edges[1]
    out[1:] -= edges[0, :-1]
    out[:, 1:] -= edges[1, :, :-1]
    return out


def _kernel(
    sinograms: Any, angles: Angles, axis: Axis, size: int, pixel_size_um: float | None, options: Options
) -> Floats:
    data = np.asarray(sinograms, np.float32)
    return reconstruct_iterative(data, angles, center=axis.column, size=size, pixel_size_um=pixel_size_um, **options)


METHOD = Method(
    "iterative",
    1,
    _kernel,
    lambda view, options: scratch_bytes(view.angles, view.columns, view.size, options["algorithm"]),
    together=lambda options: 1,  # noqa: ARG005
    linear=lambda options: False,  # noqa: ARG005
)
