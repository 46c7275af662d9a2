"""What the registration reads and finds: a scan's volume in the store, and its motion against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xct_pipeline.config import Registration
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import image_identity
from xct_pipeline.registration import calibration
from xct_pipeline.registration.levels import RegistrationError
from xct_pipeline.store.files import read_attributes
from xct_pipeline.store.marker import read_note
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray

FINEST_VOXELS = 48_000_000  # levels of more voxels are not matched on: their grain adds cost, not accuracy


@dataclass(frozen=True)
class Volume:
    """A scan's volume in the store."""

    name: str
    path: str
    shape: tuple[int, int, int]
    levels: int
    voxel_um: float | None
    unit: str
    identity: str
    time: int = 0
    """plane along t of the registered series and its labels"""
    axis: tuple[float, float] | None = None
    """(y, x) of the rotation axis, voxels; None for a volume of another program"""

    def array(self, store: Store, level: int = 0) -> Any:
        """Open one level."""
        return StoredArray(store.path / self.path / str(level))


@dataclass(frozen=True)
class Registered:
    """A series in one frame, as the stages after registration work on it.

    Attributes
    ----------
    names : tuple of str
        Scans in the order of the configuration.
    failed : tuple of int
        Positions of those without a registered volume.
    reference : int
    volume : Volume
        The reference's.
    """

    names: tuple[str, ...]
    failed: tuple[int, ...]
    reference: int
    volume: Volume

    @property
    def good(self) -> tuple[int, ...]:
        """Positions of scans with a registered volume."""
        return tuple(k for k in range(len(self.names)) if k not in self.failed)

    @property
    def frame(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.volume.shape


@dataclass(frozen=True)
class Motion:
    """How one scan lies to the reference, and its grey scale.

    Attributes
    ----------
    transform : numpy.ndarray
        3 x 4, voxels (z, y, x) of the reference volume to voxels of the scan's own.
    gain, offset : float
        Applied: mu_reference = gain * mu + offset (1/cm).
    rings : float
        Root mean square of the rings that were left out of the match, 1/cm; 0 for none.
    undetermined : tuple of str
        Parameters that the volumes do not determine, left at their start.
    undetermined_shift, undetermined_turn : float
        Standard deviation of what they may be, all over the range of the search alike: voxels, degrees; NaN for none.
    """

    name: str
    transform: Array
    gain: float = 1.0
    offset: float = 0.0
    gain_sigma: float = 0.0
    offset_sigma: float = 0.0
    residual: float = 0.0
    tre_self: float = 0.0
    rings: float = 0.0
    iterations: int = 0
    check: float = np.nan
    check_sigma: float = np.nan
    kept: float = 1.0
    variance_factor: float = 1.0
    undetermined: tuple[str, ...] = ()
    undetermined_shift: float = np.nan
    undetermined_turn: float = np.nan
    warnings: tuple[str, ...] = ()
    problem: str | None = None


def find_volume(store: Store, name: str) -> Volume:
    """Return a scan's finished volume."""
    path = f"scans/{name}/volume"
    xct = read_attributes(store.path / path).get("xct", {})
    if "identity" not in xct:
        raise RegistrationError(f"{name}: {store.path / path} is not there; run the reconstruction first")
    identity = xct["identity"]
    shape = tuple(identity["shape"])
    reconstructed = any(op.startswith("reconstruction.") for op in read_note(store.path, path)["ops"])
    return Volume(
        name,
        path,
        shape,
        xct["layout"][1],
        identity["voxel_um"],
        xct["unit"],
        image_identity(store, path),
        axis=((shape[1] - 1) / 2, (shape[2] - 1) / 2) if reconstructed else None,
    )


def reference_index(settings: Registration, names: Sequence[str]) -> int:
    """Return the position of the reference scan.

    Raises
    ------
    RegistrationError
        It is not in the series.
    """
    chosen = settings.reference
    if isinstance(chosen, str):
        if chosen not in names:
            raise RegistrationError(f"registration.reference = {chosen!r} is no scan; there are {', '.join(names)}")
        return list(names).index(chosen)
    if chosen >= len(names):
        raise RegistrationError(f"registration.reference = {chosen} but there are {len(names)} scans, counted from 0")
    return chosen


def finest_level(volume: Volume) -> int:
    """Return the finest pyramid level that is matched on."""
    return matched_level(volume.shape, volume.levels)


def matched_level(shape: Sequence[int], levels: int) -> int:
    """Return the finest level of a pyramid that has few enough voxels to be matched on."""
    level = 0
    while np.prod([n >> level for n in shape]) > FINEST_VOXELS and level < levels - 1:
        level += 1
    return level


def ceramic_threshold(store: Store, path: str, scan: int) -> float | None:
    """Return the attenuation that parts the ceramic of a scan of a series from what is lighter, None where none does.

    On the finest level of the image `path` (t, z, y, x) that is not larger than those that are matched on.
    """
    level = 0
    while (store.path / path / str(level + 1)).is_dir():
        if np.prod(StoredArray(store.path / path / str(level)).shape[1:]) <= FINEST_VOXELS:
            break
        level += 1
    try:
        return calibration.dense_threshold(StoredArray(store.path / path / str(level))[scan])
    except ValueError:
        return None
