"""What left from the layers next to a face of high contrast: measured there, or continued from the layers after them.

The sum over a face holds all that changed there, and by how much the face itself seems to have moved: by the error of
the motion times the step of attenuation, and because a detector averages intensities before the logarithm. An edge
between line integrals that differ by p, blurred by s, is seen nearer to the dense side by about 0.3 p s where it lies
along the rows, and by less where it is tilted, so that a cell that tilts between scans seems to lose or gain ceramic.
What the motion is off by is the same at both faces of the ceramic, with the opposite sign, and what averaging takes is
known from the projections (`edge_gradient`): the sum across both faces, with that given back, holds what left. The
layers after the face know nothing of all that, nor of what is thinner than they are. Both estimates are weighted by
their errors, that of the layers after by no less than the two differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHIFT = 0.3  # of the difference of line integrals times the blur: by how much an edge across the rows is displaced
UNLIKE = 0.29  # of the layers after: between a half and one and a half of them left from the face, all alike likely
SURE = 3.0  # joint standard errors from which on the two estimates disagree


class Face(NamedTuple):
    """A face between the ceramic and the region.

    Attributes
    ----------
    step : float
        Of attenuation, 1/cm, times its area, voxels.
    area : float
        Voxels.
    blur : float
        Standard deviation, voxels.
    tilt : float
        Radians between the two scans, about axes across the beam.
    voxel_cm : float
    """

    step: float
    area: float
    blur: float
    tilt: float
    voxel_cm: float

    @property
    def displaced(self) -> float:
        """Voxels by which it is seen nearer to the ceramic where it lies along the rows."""
        if not self.area:
            return 0.0
        return SHIFT * abs(self.step) / self.area * self.chord * self.voxel_cm * self.blur

    @property
    def chord(self) -> float:
        """Mean length of a ray in a disc of its area, voxels."""
        return math.sqrt(math.pi * self.area) / 2

    @property
    def sigma(self) -> float:
        """Error of a sum across it, 1/cm times voxels, from a tilt between the scans: half of what could change."""
        return abs(self.step) * self.displaced / 2 * min(1.0, self.tilt * self.chord / self.blur)


class Averaging(NamedTuple):
    """What averaging intensities took from one scan more than from another at the faces, 1/cm times voxels.

    Attributes
    ----------
    total : float
        To be added to the sum across the faces.
    noise, tilt, sides, rough : float
        Its standard errors: from noise, from the slopes of the faces, from what changes beside the faces along z, and
        from faces that are no planes.
    """

    total: float
    noise: float
    tilt: float
    sides: float
    rough: float

    @property
    def sigma(self) -> float:
        """Of all of them."""
        return math.hypot(self.noise, self.tilt, self.sides, self.rough)


class Missed(NamedTuple):
    """What averaging intensities took from one scan at one face, 1/cm times voxels.

    Attributes
    ----------
    found, ramp : (angle,)
        From the shares of light, and by how much that is too large as the face rises along the rays.
    other : float
        Mean of `found` with sides that are not continued to the face.
    tilt : float
        Standard error of `ramp` from the slope of the face.
    rough : float
        Root mean square by which the face deviates from a plane, voxels.
    """

    found: Floats
    ramp: Floats
    other: float
    tilt: float
    rough: float


def averaging(moving: Sequence[Missed], fixed: Sequence[Missed]) -> Averaging:
    """Compare what averaging intensities took from two scans at all faces, the same in both."""
    total = noise = tilt = sides = rough = 0.0
    for one, sign in [*((m, 1) for m in moving), *((f, -1) for f in fixed)]:
        mean, ramp = float(one.found.mean()), float(one.ramp.mean())
        total += sign * (mean - ramp)
        noise, tilt = math.hypot(noise, _error_of_mean(one.found)), math.hypot(tilt, one.tilt)
        sides += sign * (one.other - mean)
        rough += sign * ramp * min(1.0, one.rough)
    return Averaging(total, noise, tilt, abs(sides), abs(rough))


def _error_of_mean(values: Floats) -> float:
    """Return the error of a mean from differences of neighbours: what follows the angle is no noise."""
    steps = np.diff(values, n=2)
    return float(np.sqrt((steps**2).mean() / 6 / len(values)))


class NearFace(NamedTuple):
    """The change in the layers at a face, mg.

    Attributes
    ----------
    measured, sigma_measured : float
        Sum across the face, or across both faces of the ceramic.
    continued, sigma_continued : float
        From the layers after it.
    faces : int
        Of the ceramic that are summed across.
    mass, sigma : float
        Of both, by their errors.
    """

    measured: float
    sigma_measured: float
    continued: float
    sigma_continued: float
    faces: int = 1

    @property
    def doubt(self) -> float:
        """Error that what was continued is weighted by: of what is thinner than the layers after the face they know
        nothing, so no less than by how much it differs from what was measured, nor than the error of that.
        """
        return max(self.sigma_continued, abs(self.measured - self.continued), self.sigma_measured)

    @property
    def share(self) -> float:
        """Weight of what was measured."""
        return 1.0 if self.sigma_measured == 0 else self.doubt**2 / (self.doubt**2 + self.sigma_measured**2)

    @property
    def mass(self) -> float:
        """Of both."""
        return self.share * self.measured + (1 - self.share) * self.continued

    @property
    def sigma(self) -> float:
        """Standard error of `mass`."""
        return math.sqrt(self.share) * self.sigma_measured

    @property
    def disagrees(self) -> bool:
        """Whether the two differ by more than their errors allow."""
        apart = abs(self.measured - self.continued)
        return apart > SURE * math.hypot(self.sigma_measured, self.sigma_continued)


def left_out(ceramic: float, after: float, layers: list[float], displaced: float) -> float:
    """Return how many layers between the ceramic's last voxel and the region hold what the region holds.

    Parameters
    ----------
    ceramic, after : float
        Mean attenuation of the reference inside of the ceramic and in the region, 1/cm.
    layers : list of float
        Mean attenuation of each layer across the face, as many inside of the ceramic as are left out.
    displaced : float
        Voxels by which the face is seen nearer to the ceramic.
    """
    solid = sum((value - after) / (ceramic - after) for value in layers) + displaced
    return min(max(len(layers) - solid, 0.0), float(len(layers)))


def continued(first: float, second: float, share: float, noise: float) -> tuple[float, float]:
    """Return the change of the layers left out and its error, from those after them and the ones after those.

    Parameters
    ----------
    first, second : float
        Change in as many layers as are left out, after them and after those.
    share : float
        Layers that were left out and hold what the region holds, over their number.
    noise : float
        Standard error of `first`.
    """
    unlike = max(abs(first - second) / 2, UNLIKE * abs(first))
    return share * first, share * math.hypot(unlike, noise)
