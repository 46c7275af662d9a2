"""An object with a closed form that can be drawn under any motion: nothing is interpolated in its making."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import erf

from xct_pipeline.registration import transform as tf

CONTRAST = 0.41
RADIUS = 0.42  # of the spherical mask, as a share of the volume's side
EDGE = 0.7  # standard deviation of the edges, voxels


def ellipsoids(n: int, count: int, base: float, seed: int) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Return centre, half-axes and contrast of a body with inclusions."""
    rng = np.random.default_rng(seed)
    middle = np.full(3, (n - 1) / 2)
    found = [(middle, np.array([0.45, 0.42, 0.44]) * n, base)]
    for _ in range(count):
        direction = rng.normal(size=3)
        center = middle + direction / np.linalg.norm(direction) * 0.40 * n * rng.uniform() ** (1 / 3)
        axes = np.maximum(rng.uniform(0.015, 0.04, 3) * n, 2.5)
        found.append((center, axes, float(CONTRAST * rng.choice([-1.0, 1.0]))))
    return found


def draw(n: int, items: list[tuple[np.ndarray, np.ndarray, float]], motion: np.ndarray) -> np.ndarray:
    """Draw the object moved by `motion`: the value at q is the object's at the point that the motion takes to q."""
    back = tf.invert(motion)
    out = np.zeros((n, n, n), np.float32)
    for center, axes, contrast in items:
        middle, reach = tf.apply(motion, center), float(axes.max()) + 6
        low = np.maximum(0, np.floor(middle - reach)).astype(int)
        high = np.minimum(n, np.ceil(middle + reach) + 1).astype(int)
        if (high <= low).any():
            continue
        z, y, x = np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij", sparse=True)
        p = [back[i, 0] * z + back[i, 1] * y + back[i, 2] * x + back[i, 3] - center[i] for i in range(3)]
        scaled = np.sqrt(sum((p[i] / axes[i]) ** 2 for i in range(3)))
        slope = np.sqrt(sum((p[i] / axes[i] ** 2) ** 2 for i in range(3))) / np.maximum(scaled, 1e-9)
        depth = (1.0 - scaled) / np.maximum(slope, 1e-9)
        out[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] += (
            contrast * 0.5 * (1 + erf(depth / (np.sqrt(2) * EDGE)))
        ).astype(np.float32)
    return out


class Phantom:
    """Reference, moving volume with another content in a quarter of the mask, mask and the true motion."""

    def __init__(self, n: int, shift=(3.37, -2.61, 1.83), degrees: float = 1.0, changed: bool = True) -> None:
        axis = np.array([0.5, -0.6, 0.62])
        middle = np.full(3, (n - 1) / 2)
        self.motion = tf.rigid(np.deg2rad(degrees) * axis / np.linalg.norm(axis), shift, middle)
        count = round(1500 * (n / 256) ** 2)
        same = ellipsoids(n, count, CONTRAST, 0)
        self.reference = draw(n, same, tf.identity())
        self.moving = draw(n, same, self.motion)
        if changed:
            other = draw(n, ellipsoids(n, count, 0.7 * CONTRAST, 1), self.motion)
            q = np.indices((n, n, n), dtype=np.float32)
            back = tf.invert(self.motion)
            x = back[2, 0] * q[0] + back[2, 1] * q[1] + back[2, 2] * q[2] + back[2, 3] - middle[2]
            new = x > 0.347 * RADIUS * n  # a cap with a quarter of the mask's volume
            self.moving = np.where(new, other, self.moving)
        z, y, x = np.ogrid[:n, :n, :n]
        self.mask = (z - middle[0]) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2 < (RADIUS * n) ** 2

    def noisy(self, sigma: float, gain: float = 1.0, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(1)
        reference = self.reference + (sigma * rng.normal(size=self.reference.shape)).astype(np.float32)
        moving = self.moving + (sigma * rng.normal(size=self.moving.shape)).astype(np.float32)
        return reference, (moving - np.float32(offset)) / np.float32(gain)

    def largest_error(self, found: np.ndarray) -> float:
        points = np.argwhere(self.mask)[::7]
        return tf.largest_distance(found, self.motion, points)


CERAMIC, ANODE, GAS = 5.0, 1.2, 0.1  # 1/cm


def edge(depth: np.ndarray) -> np.ndarray:
    """Return the share of a material whose face lies `depth` voxels away."""
    return (0.5 * (1 + erf(depth / (np.sqrt(2) * EDGE)))).astype(np.float32)


def draw_cell(n: int, motion: np.ndarray, lost: float, uneven: float) -> np.ndarray:
    """Draw a porous ceramic under an anode that lost grey value, all alike or by ``1 +- uneven`` times as much."""
    middle, back = (n - 1) / 2, tf.invert(motion)
    p = np.indices((n, n, n), dtype=np.float32)
    z, y, x = (back[i, 0] * p[0] + back[i, 1] * p[1] + back[i, 2] * p[2] + back[i, 3] - middle for i in range(3))
    above, radius = edge(z - 0.3), np.hypot(y, x)
    anode = ANODE - lost * (1 + uneven * np.sin(12 * x / n) * np.cos(9 * y / n))
    filling = edge(z + 0.38 * n) * ((1 - above) * (CERAMIC - GAS) + above * edge(0.25 * n - z) * (anode - GAS))
    rng, pores = np.random.default_rng(0), []
    for _ in range(round(60 * (n / 128) ** 2)):
        angle, distance = rng.uniform(0, 2 * np.pi), 0.31 * n * np.sqrt(rng.uniform())
        center = middle + np.array([-rng.uniform(0.05, 0.33) * n, distance * np.sin(angle), distance * np.cos(angle)])
        pores.append((center, np.maximum(rng.uniform(0.012, 0.03, 3) * n, 2.0), -0.8 * (CERAMIC - GAS)))
    return (GAS + edge(0.36 * n - radius) * filling + draw(n, pores, motion)).astype(np.float32)


class Cell:
    """Two scans of a cell whose anode, which lies on the ceramic, lost grey value, and the true motion."""

    def __init__(self, n: int, lost: float, uneven: float = 0.0, noise: float = 0.05) -> None:
        self.n = n
        self.motion = tf.rigid(np.deg2rad([0.6, -0.25, 0.2]), [1.37, -2.61, 0.83], np.full(3, (n - 1) / 2))
        rng = np.random.default_rng(2)
        self.reference, self.moving = (
            volume + noise * rng.standard_normal(volume.shape, dtype=np.float32)
            for volume in (draw_cell(n, tf.identity(), 0.0, 0.0), draw_cell(n, self.motion, lost, uneven))
        )

    def largest_error(self, found: np.ndarray) -> float:
        """Return the largest error over the ceramic."""
        rim = [(z, y, x) for z in (-0.38, 0.0) for y, x in ((-0.36, 0.0), (0.36, 0.0), (0.0, -0.36), (0.0, 0.36))]
        return tf.largest_distance(found, self.motion, (self.n - 1) / 2 + self.n * np.array(rim))


@pytest.fixture(scope="session")
def make_cell() -> type[Cell]:
    return Cell


@pytest.fixture(scope="session")
def make_phantom() -> Callable[..., Phantom]:
    made: dict[tuple, Phantom] = {}

    def make(n: int, *args, **kwargs) -> Phantom:
        key = (n, args, tuple(sorted(kwargs.items())))
        if key not in made:
            made[key] = Phantom(n, *args, **kwargs)
        return made[key]

    return make
