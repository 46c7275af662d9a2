"""Values rounded to what their noise leaves meaning, so that an image takes a fraction of its bytes on the disk.

Digits far below the noise of a voxel are random, and nothing compresses them. Values that are rounded to multiples of
a power of two stay plain float32, which every reader opens, and have zeros where those digits were: bit-shuffled, they
vanish. Rounding to steps of a quarter of the noise adds (1/4)^2 / 12 of its variance, 0.26 % of its size; the step
being smaller than the noise, the error of a voxel is independent of its value and averages out in sums.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.engine.blocks import Pass

Array = npt.NDArray[Any]

SHARE = 0.25
"""Largest step, as a share of the noise of a voxel."""
SAMPLES = 2**17
QUARTILE = 0.31864  # lower quartile of the absolute value of a standard normal variable
BETWEEN_SLICES = math.sqrt(6)  # of a second difference, over that of a voxel: slices do not share their noise
IN_PLANE = math.sqrt(8)  # or more: neighbours in a slice are anticorrelated by the ramp filter


def voxel_noise(block: Array) -> float:
    """Return the noise of a voxel of a block, or less.

    From the lower quartile of the second differences along z (along y where there are too few planes): half of a block
    may be structure before that sees it, and what varies steadily leaves no trace. Noise that neighbours share, as
    after interpolation, makes the result smaller, never larger. Voxels that are exactly 0 with their neighbours, as
    outside of what was reconstructed, do not count.

    Parameters
    ----------
    block : array, (..., z, y, x)

    Returns
    -------
    float
        0 where there is no noise, or too little to look at.
    """
    volume = block.reshape(-1, *block.shape[-2:])
    divisor = BETWEEN_SLICES
    if len(volume) < 3:
        volume, divisor = np.moveaxis(volume, 1, 0), IN_PLANE
    if len(volume) < 3:
        return 0.0
    stride = max(1, math.isqrt(max(1, volume.size // SAMPLES)))
    some = volume[:, ::stride, ::stride].astype(np.float32, copy=False)
    middle, sides = some[1:-1], (some[:-2], some[2:])
    with np.errstate(invalid="ignore", over="ignore"):
        bent = np.abs(sides[0] + sides[1] - 2 * middle)
    seen = np.isfinite(bent) & ((middle != 0) | (sides[0] != 0) | (sides[1] != 0))
    if np.count_nonzero(seen) < 64:
        return 0.0
    return float(np.quantile(bent[seen], 0.25)) / QUARTILE / divisor


def step_of(noise: float, share: float = SHARE) -> float:
    """Return the largest power of two that is at most a share of the noise; 0 where there is none."""
    return 2.0 ** math.floor(math.log2(share * noise)) if share * noise > np.finfo(np.float32).tiny else 0.0


def rounded(block: Array, share: float = SHARE) -> tuple[Array, float]:
    """Return a block rounded to multiples of a power of two, and that step (0: nothing was rounded).

    The result depends on the values of the block alone. NaN and infinities stay, as does a block without noise.

    Parameters
    ----------
    block : float32 array, (..., z, y, x)
    share : float
        The step is at most this share of the noise of a voxel.
    """
    step = step_of(voxel_noise(block), share)
    if not step:
        return block, 0.0
    scaled = block * np.float32(1 / step)
    np.rint(scaled, out=scaled)
    scaled *= np.float32(step)
    scaled += np.float32(0)  # no negative zeros
    return scaled, step


def at_precision(step: Pass, noise_share: float | None) -> Pass:
    """Return a pass to an image whose values are rounded to a share of their noise; None leaves all digits."""
    if noise_share is None or step.image.labels:
        return step
    note = {"rounding": {"step": "a power of two", "most_of_noise": noise_share, "adds_to_noise": noise_share**2 / 24}}
    image = replace(step.image, noise_share=noise_share, attributes={**step.image.attributes, **note})
    return replace(step, image=image)
