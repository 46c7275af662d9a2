"""The parts of the reference that are matched, as the configuration names them, on any level of its pyramid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.config import Config, MaskSettings, Registration
from xct_pipeline.engine.blocks import Array
from xct_pipeline.registration import masks
from xct_pipeline.registration.levels import RegistrationError
from xct_pipeline.store.labels_file import open_labels
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray

PAINTED_LEVELS = 10  # of a pyramid, on any of which a mask may be painted
SLAB = 64


class Mask:
    """The mask of one pyramid level, computed by slabs when it is read: ``mask[z0:z1]``."""

    def __init__(self, settings: MaskSettings, volume: Any, level: int, store: Store) -> None:
        self.settings, self.volume, self.level, self.store = settings, volume, level, store
        self.shape: tuple[int, ...] = volume.shape

    def __getitem__(self, key: Any) -> Array:
        """Return planes of the mask as bool, every plane the same whatever slab it is read in."""
        part = key[0] if isinstance(key, tuple) else key
        start, stop, _ = part.indices(self.shape[0])
        halo = self.settings.grow + 5  # what smoothing and growing reach
        low, high = max(0, start - halo), min(self.shape[0], stop + halo)
        mask = self._slab(low, high)[start - low : stop - low]
        return mask if not isinstance(key, tuple) else mask[(slice(None), *key[1:])]

    def _slab(self, low: int, high: int) -> Array:
        s = self.settings
        mask = np.ones((high - low, *self.shape[1:]), bool)
        if s.min_attenuation is not None or s.max_attenuation is not None:
            lower = -np.inf if s.min_attenuation is None else s.min_attenuation
            upper = np.inf if s.max_attenuation is None else s.max_attenuation
            mask &= masks.attenuation_mask(self.volume[low:high], minimum=lower, maximum=upper, grow=s.grow)
        if s.label is not None:
            mask &= masks.label_mask(*self._labels(low, high), grow=s.grow)
        if s.painted is not None:
            mask &= painted_planes(open_painted(Path(s.painted)), self.shape, low, high)
        return mask & self._shapes(low, high)

    def _labels(self, low: int, high: int) -> tuple[Array, list[int]]:
        from xct_pipeline.segmentation.steps.stage import label_values, labels_path

        path = self.store.path / labels_path() / str(self.level)
        if not path.is_dir():
            raise RegistrationError(
                f"mask label {self.settings.label}: no labels yet; run once with another mask and [segmentation]"
            )
        planes = StoredArray(path)[0, low:high]
        return np.asarray(planes), label_values(self.store, [str(self.settings.label)])

    def _shapes(self, low: int, high: int) -> Array:
        """Return what cylinder and box leave of a slab, their voxels at full resolution."""
        scale, s = 2**self.level, self.settings
        z, y, x = (np.arange(n) * scale + (scale - 1) / 2 for n in self.shape)
        inside = np.ones((high - low, *self.shape[1:]), bool)
        if s.cylinder is not None:
            full = [n * scale for n in self.shape]
            disc = np.hypot(*np.meshgrid(y - (full[1] - 1) / 2, x - (full[2] - 1) / 2, indexing="ij"))
            inside &= _between(z[low:high], s.cylinder.z)[:, None, None] & (disc <= s.cylinder.radius)
        if s.box is not None:
            inside &= (
                _between(z[low:high], s.box.z)[:, None, None] & _between(y, s.box.y)[:, None] & _between(x, s.box.x)
            )
        return inside


def _between(centres: Array, span: tuple[int, int]) -> Array:
    return np.asarray((centres >= span[0] - 0.5) & (centres < span[1] - 0.5))


def with_files(config: Config) -> Registration:
    """Return the registration's settings with the path of a painted mask made absolute."""
    settings = config.registration or Registration()
    if not isinstance(settings.mask, MaskSettings) or settings.mask.painted is None:
        return settings
    mask = settings.mask.model_copy(update={"painted": str(config.resolve(settings.mask.painted))})
    return settings.model_copy(update={"mask": mask})


def open_painted(file: Path) -> Any:
    """Open a painted mask, (z, y, x).

    Raises
    ------
    RegistrationError
        It cannot be read or is no volume of whole numbers.
    """
    try:
        painted = open_labels(file, "registration.mask.painted")
    except ValueError as error:
        raise RegistrationError(f"{file}: {error}") from None
    if painted.ndim != 3 or np.dtype(painted.dtype).kind not in "uib":
        raise RegistrationError(
            f"{file}: a mask is a volume (z, y, x) of whole numbers, not {painted.dtype} with {painted.ndim} axes"
        )
    return painted


def check_painted(file: Path, shape: Sequence[int]) -> None:
    """Raise RegistrationError unless a painted mask can be read, fits a volume of `shape` and is not empty."""
    painted = open_painted(file)
    if not any(tuple(n >> k for n in shape) == painted.shape for k in range(PAINTED_LEVELS)):
        raise RegistrationError(
            f"{file}: painted on {_size(painted.shape)} voxels, but the reference has {_size(shape)}: "
            "paint on the reference's volume (or a level of its pyramid)"
        )
    if not any(np.any(painted[z : z + SLAB]) for z in range(0, painted.shape[0], SLAB)):
        raise RegistrationError(f"{file}: nothing is painted in it; voxels that are not 0 are matched")


def painted_digest(file: Path) -> str:
    """Return what identifies the content of a painted mask, wherever it lies."""
    painted = open_painted(file)
    digest = hashlib.sha256(repr(painted.shape).encode())
    for z in range(0, painted.shape[0], SLAB):
        digest.update(np.packbits(np.asarray(painted[z : z + SLAB]) != 0).tobytes())
    return digest.hexdigest()


def painted_planes(painted: Any, shape: Sequence[int], low: int, high: int) -> Array:
    """Return planes of a painted mask on a level of `shape`, finer or coarser than the level it was painted on.

    A voxel of a coarser level belongs to the mask where at least half of it was painted.
    """
    for k in range(PAINTED_LEVELS):
        if tuple(n >> k for n in painted.shape) == tuple(shape):
            factor = 2**k
            block = np.asarray(painted[low * factor : high * factor]) != 0
            cut = block[:, : shape[1] * factor, : shape[2] * factor]
            parts = cut.reshape(high - low, factor, shape[1], factor, shape[2], factor)
            return np.asarray(parts.mean(axis=(1, 3, 5), dtype=np.float32) >= 0.5)
        if tuple(n >> k for n in shape) == painted.shape:
            z, y, x = (np.minimum(np.arange(n) >> k, m - 1) for n, m in zip(shape, painted.shape, strict=True))
            rows = z[low:high]
            block = np.asarray(painted[int(rows[0]) : int(rows[-1]) + 1]) != 0
            return np.asarray(block[np.ix_(rows - rows[0], y, x)])
    raise RegistrationError(
        f"the painted mask has {_size(painted.shape)} voxels, which is no level of a volume whose level has "
        f"{_size(shape)}"
    )


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
