"""The parts of the reference that are matched, as the configuration names them, on any level of its pyramid."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.config import MaskSettings, RegionOfInterest, Registration
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import image_identity
from xct_pipeline.region import VERSION as REGION_VERSION
from xct_pipeline.region import painted_digest, place_region
from xct_pipeline.registration import masks
from xct_pipeline.registration.levels import RegistrationError
from xct_pipeline.registration.steps.volumes import Volume
from xct_pipeline.store import provenance
from xct_pipeline.store.labels import LABELS
from xct_pipeline.store.store import Store
from xct_pipeline.threads import Shared

DRAWN = Shared(4)  # masks of the reference, a bit per voxel: all scans of a series are matched on them
_THICK = 64  # planes that are drawn at a time


class Mask:
    """The mask of one pyramid level, computed by slabs when it is read: ``mask[z0:z1]``.

    Parameters
    ----------
    settings : RegionOfInterest
        With a range of attenuation where it is a `MaskSettings`.
    reference : Volume
        Whose voxels are meant.
    volume : array (z, y, x)
        Its values on that level.
    level : int
    store : Store
    grow : int, optional
        Voxels of the level by which a material, told by its attenuation or label, is grown; as the settings say by
        default.

    Raises
    ------
    RegistrationError
        There are no labels yet.
    ValueError
        There is no such label.
    """

    def __init__(
        self,
        settings: RegionOfInterest,
        reference: Volume,
        volume: Any,
        level: int,
        store: Store,
        grow: int | None = None,
    ) -> None:
        if settings.label is not None and not (store.path / LABELS / str(level)).is_dir():
            raise RegistrationError(
                f"mask label {settings.label}: no labels yet; run once with another mask and [segmentation]"
            )
        self.region = place_region(settings, reference.shape, store, reference.time)
        self.range = (settings.min_attenuation, settings.max_attenuation) if isinstance(settings, MaskSettings) else ()
        given = settings.grow if isinstance(settings, MaskSettings) else 0
        self.grow = given if grow is None else grow
        self.volume, self.level = volume, level
        self.shape: tuple[int, ...] = volume.shape

    def __getitem__(self, key: Any) -> Array:
        """Return planes of the mask as bool, every plane the same whatever slab it is read in."""
        part = key[0] if isinstance(key, tuple) else key
        start, stop, _ = part.indices(self.shape[0])
        halo = self.grow + 5  # what smoothing and growing reach
        low, high = max(0, start - halo), min(self.shape[0], stop + halo)
        mask = self._slab(low, high)[start - low : stop - low]
        return mask if not isinstance(key, tuple) else mask[(slice(None), *key[1:])]

    def _slab(self, low: int, high: int) -> Array:
        part = (slice(low, high), *(slice(0, n) for n in self.shape[1:]))
        mask: Array = self.region.drawn(part, self.level)
        if any(limit is not None for limit in self.range):
            lower, upper = (far if own is None else own for own, far in zip(self.range, (-np.inf, np.inf), strict=True))
            mask &= masks.attenuation_mask(self.volume[low:high], minimum=lower, maximum=upper, grow=self.grow)
        if self.region.labels_folder is not None:
            mask &= masks.dilated(self.region.labelled(part, self.level), self.grow)
        return mask


class Drawn:
    """A mask that is drawn, a bit per voxel; read by slabs as `Mask` is."""

    def __init__(self, mask: Mask, parallel_map: Callable[..., Iterable[Any]]) -> None:
        self.shape = mask.shape

        def draw(first: int) -> Array:
            return np.packbits(mask[first : first + _THICK], axis=-1)

        self.bits = np.concatenate(list(parallel_map(draw, range(0, mask.shape[0], _THICK))))

    def __getitem__(self, part: Any) -> Array:
        """Return planes of the mask as bool."""
        return np.unpackbits(self.bits[part], axis=-1, count=self.shape[-1]).view(np.bool_)


def drawn_mask(
    settings: Registration,
    reference: Volume,
    volume: Any,
    level: int,
    store: Store,
    parallel_map: Callable[..., Iterable[Any]],
) -> Drawn:
    """Return the mask that is matched on a level, drawn once for all scans."""
    assert settings.mask != "auto"
    region = settings.mask
    key = region_key(settings, reference, level, store)
    mask: Drawn = DRAWN.get(key, lambda: Drawn(Mask(region, reference, volume, level, store), parallel_map))
    return mask


def region_key(settings: Registration, reference: Volume, level: int, store: Store) -> tuple[object, ...]:
    """Return everything that regions of the reference depend on."""
    labelled = any(region.label is not None for region in regions_of(settings).values())
    labels = image_identity(store, LABELS) if labelled and (store.path / LABELS).is_dir() else ""
    return store.path, reference.name, reference.identity, level, provenance.fingerprint(matching_key(settings)), labels


def matching_key(settings: Registration) -> dict[str, Any]:
    """Return everything in the configuration that a motion and a grey scale depend on; what was painted by content."""
    dumped = settings.model_dump(mode="json", exclude={"order", "local", "fragments", "start"})
    named = regions_of(settings)
    for name, region in named.items():
        if region.painted is not None:  # wherever it lies
            holder = dumped if region is settings.mask else dumped["calibration"]["regions"]
            holder[name]["painted"] = painted_digest(Path(region.painted))
    placed = any(r.cylinder or r.box or r.label or r.painted for r in named.values())
    return {"settings": dumped} | ({"regions": REGION_VERSION} if placed else {})


def regions_of(settings: Registration) -> dict[str, RegionOfInterest]:
    """Return the regions that are matched and calibrated on, as far as the configuration says where they are."""
    regions = {"mask": settings.mask, **settings.calibration.regions}
    return {name: region for name, region in regions.items() if isinstance(region, RegionOfInterest)}
