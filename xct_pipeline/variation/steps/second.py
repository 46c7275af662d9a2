"""The same series at a second energy, from its own store."""

from __future__ import annotations

from typing import Any

import numpy as np

from xct_pipeline.config import Config
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.steps.stage import PATH, Motion, find_volume
from xct_pipeline.store import series as opened
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.variation.closures import CLOSURES
from xct_pipeline.variation.steps.series import RegisteredSeries

KEPT = ("gain_sigma", "offset_sigma", "tre_self")
"""What the errors of a change need to know of a scan's motion, beside where its rings lie."""


def second_store(config: Config) -> Store | None:
    """Return the store of the second energy, for a closure that takes two.

    Raises
    ------
    ValueError
        It is not there.
    """
    settings = config.variation
    if settings is None or settings.closure is None or settings.second_store is None:
        return None
    if CLOSURES[settings.closure].energies == 1:
        return None
    folder = config.resolve(settings.second_store)
    if not (folder / PATH / "0").is_dir():
        raise ValueError(
            f"variation.second_store: {folder / PATH} is not there; run the series of the second energy first"
        )
    return Store(folder)


def check_second(store: Store, scans: int, frame: tuple[int, int, int]) -> None:
    """Raise ValueError where a store holds another number of scans, or volumes of another size."""
    shape = tuple(StoredArray(store.path / PATH / "0").shape)
    if shape != (scans, *frame):
        raise ValueError(
            f"variation.second_store: {store.path} holds {shape[0]} scans of {' x '.join(map(str, shape[1:]))} voxels, "
            f"this run {scans} of {' x '.join(map(str, frame))}; the two series must match"
        )


def second_series(store: Store, reference: int) -> RegisteredSeries:
    """Return the series of the second energy as it was registered."""
    found = opened.Series.open(store)
    names = found.along(PATH)
    if not set(names) <= set(found.tables["registration"]["scan"]):
        raise ValueError(
            f"variation.second_store: {store.path} does not say how its scans were registered; run it again"
        )
    table = found.tables["registration"].set_index("scan")
    figures: dict[Any, Any] = table.to_dict("index")
    volume = find_volume(store, names[reference])
    motions = []
    for name in names:
        row = figures[name]
        gain, offset, shift = (float(row[key]) for key in KEPT)
        matrix = np.array([[float(row[f"m{i}{j}"]) for j in range(4)] for i in range(3)])
        moved = tf.voxels_to_um(matrix, 1 / (volume.voxel_um or 1.0)) if np.isfinite(matrix).all() else tf.identity()
        motions.append(Motion(name, moved, gain_sigma=gain, offset_sigma=offset, tre_self=shift))
    failed = tuple(k for k, name in enumerate(names) if name in found.problems)
    return RegisteredSeries(names, failed, reference, volume, tuple(motions), (None,) * len(names))
