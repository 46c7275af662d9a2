"""The parts of the reference that are matched, as the configuration names them, on any level of its pyramid."""

from __future__ import annotations

from typing import Any

import numpy as np

from xct_pipeline.blocks import Array
from xct_pipeline.config import MaskSettings
from xct_pipeline.registration import masks
from xct_pipeline.registration.levels import RegistrationError
from xct_pipeline.store import Store, StoredArray


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
        return mask & self._shapes(low, high)

    def _labels(self, low: int, high: int) -> tuple[Array, list[int]]:
        from xct_pipeline.segmentation.stage import label_values, labels_path

        path = self.store.path / labels_path() / str(self.level)
        if not path.is_dir():
            raise RegistrationError(
                f"mask label {self.settings.label}: no labels yet; segment first, or mask otherwise"
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
