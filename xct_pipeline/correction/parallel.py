"""How many components of noisy data are real: parallel analysis by random signs.

A component counts if it exceeds those of the same data with random signs, in which all that is shared between
observations is lost and noise is as before (Horn, Psychometrika 30, 179 (1965); Hong, Sheng, Dobriban,
arXiv:2012.02985). The signs come from a fixed seed, so that the same data give the same answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DRAWS, SEED = 24, 20150928  # draws of random signs; the largest eigenvalue of all must be exceeded
MARGIN = 1.1  # by this factor


def significant(halves: Any, most: int, least: int = 0) -> Floats:
    """Return the orthonormal combinations of observations (component, observation) that exceed noise.

    Parameters
    ----------
    halves : array (observation, half, variable)
        With one half eigenvalues are those of the data. With two, whose noise is independent, they are those of the
        product of one with the other, to which noise adds nothing on average.
    """
    data = np.asarray(halves, np.float64).copy()
    rng = np.random.default_rng(SEED)
    found: list[Floats] = []
    while len(found) < most:
        values, vectors = np.linalg.eigh(_product(data[:, 0], data[:, -1]))
        if not values[-1] > 0:
            break
        if len(found) >= least:
            noise = 0.0
            for _ in range(DRAWS):
                shape = data[:, 0].shape if data.shape[1] == 1 else data[:1, 0].shape
                signs = rng.integers(0, 2, shape) * 2.0 - 1.0
                first = data[:, 0] * signs
                second = first if data.shape[1] == 1 else data[:, -1]
                noise = max(noise, float(np.linalg.eigvalsh(_product(first, second))[-1]))
            if values[-1] <= MARGIN * noise:
                break
        vector = vectors[:, -1] * np.sign(vectors[np.argmax(np.abs(vectors[:, -1])), -1])
        found.append(vector)
        data -= vector[:, None, None] * np.einsum("t,thv->hv", vector, data)
    return np.array(found).reshape(-1, len(data))


def _product(first: Floats, second: Floats) -> Floats:
    product = first @ second.T
    return np.asarray((product + product.T) / 2)
