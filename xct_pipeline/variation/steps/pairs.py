"""The change of one pair of scans over a region: its sums, its errors, and the areal maps of all pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region, size_of
from xct_pipeline.config import Config, Variation
from xct_pipeline.engine.blocks import Array, BlockOp, Pass, side_by_side
from xct_pipeline.engine.execution import image_identity, measure
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps, path_name
from xct_pipeline.region import RegionMask
from xct_pipeline.store.image import Image
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.variation import budget
from xct_pipeline.variation import noise as noises
from xct_pipeline.variation.steps.charge import SeriesCharge
from xct_pipeline.variation.steps.images import along_t, unchanged
from xct_pipeline.variation.steps.noise import Pair
from xct_pipeline.variation.steps.physics import Physics, errors_of
from xct_pipeline.variation.steps.series import PREFIX, VERSION, Materials, RegisteredSeries, pairs_of, region_mask
from xct_pipeline.variation.steps.sums import SumsOfPair, maps_bytes

SECOND = f"{PREFIX}second/"  # before the names of steps at the second energy
AREAL = {"areal": "mg/cm2", "areal_sigma": "mg/cm2", "areal_noise": "mg/cm2"}
EVALUATE_BYTES = 320  # per column, of the maps of one pair: sums in double precision, changes and their errors
EVALUATE_S = 1e-7  # CPU-seconds per column


@dataclass(frozen=True)
class Study:
    """What the sums, their errors and the tables of a run are made from.

    Attributes
    ----------
    series, store
        What is read, and where results go.
    second : (RegisteredSeries, Store) or None
        The same at a second energy.
    physics : Physics
    compositions : tuple of float or None
        Of the alloy at each scan.
    times : tuple of float or None
        Of the scans, s.
    beside : SeriesCharge or None
        The charge at the scans, where it is known.
    noise : tuple of mapping
        Of the difference of each pair of scans, at each energy.
    """

    config: Config
    series: RegisteredSeries
    store: Store
    limits: Resources
    physics: Physics
    compositions: tuple[float | None, ...]
    times: tuple[float | None, ...]
    beside: SeriesCharge | None = None
    second: tuple[RegisteredSeries, Store] | None = None
    noise: tuple[Mapping[Pair, noises.Noise], ...] = ()

    @property
    def settings(self) -> Variation:
        """The settings of the stage."""
        assert self.config.variation is not None
        return self.config.variation

    @property
    def region(self) -> RegionMask:
        """The region that mass is mapped in."""
        assert self.settings.region is not None
        return region_mask(self.series, self.store, self.settings.region)

    @property
    def voxel_um(self) -> float:
        """Of the reference volume."""
        return self.series.volume.voxel_um or 1.0

    @property
    def energies(self) -> list[tuple[str, RegisteredSeries, Store]]:
        """What is read at each energy, with what the names of its steps begin with."""
        first = (PREFIX, self.series, self.store)
        return [first] if self.second is None else [first, (SECOND, *self.second)]

    def density(self, scan: int) -> budget.Density:
        """Return what turns mean changes of attenuation of a scan into a change of density."""
        return partial(self.physics.density, w=self.compositions[scan])


@dataclass(frozen=True)
class PairOfScans:
    """A pair of scans over a region.

    Attributes
    ----------
    study : Study
    mask : RegionMask
    pair : (moving, fixed)
    name : str
        Of the region, as a part of a path.
    consecutive : bool
        Against the scan before, not against the reference.
    surface, materials, profiles
        See `SumsOfPair`.
    whole : numpy.ndarray or None
        Voxel pairs of the region at each lag, where it is cut by labels.
    """

    study: Study
    mask: RegionMask
    pair: Pair
    name: str
    consecutive: bool = False
    surface: Array | None = None
    materials: Materials | None = None
    profiles: bool = False
    whole: Array | None = None

    @property
    def sums(self) -> list[SumsOfPair]:
        """What is summed at each energy."""
        against = "consecutive" if self.consecutive else "reference"
        scan = path_name(self.study.series.names[self.pair[0]])
        return [
            SumsOfPair(
                f"{prefix}sums/{self.name}/{against}/{scan}",
                series,
                store,
                self.study.settings,
                self.mask,
                self.pair,
                self.surface,
                self.materials,
                self.profiles,
            )
            for prefix, series, store in self.study.energies
        ]

    def measured(self, steps: Steps | None = None) -> list[budget.Measured]:
        """Return sums, noise and errors at each energy; the sums are measured unless the store keeps them."""
        study, physics = self.study, self.study.physics
        slopes = physics.slopes(study.compositions[self.pair[0]])
        found = []
        for e, sums in enumerate(self.sums):
            maps = sums.named(measure(study.store, sums.step(), study.limits, steps))
            noise = None if self.pair[0] == self.pair[1] else self._louder(study.noise[e][self.pair], maps)
            errors = errors_of(study.settings, physics, sums.series, self.pair)
            k = None if physics.both is None else physics.both[e]
            found.append(budget.Measured(maps, noise, errors, slopes.species[e], k, slopes.host[e]))
        return found

    def density(self, measured: Sequence[budget.Measured]) -> budget.Density:
        """Return what turns mean changes of attenuation into a change of density."""
        if self._between_maps:
            return _between(self.study, self.pair, measured[0].sums["count"])
        return self.study.density(self.pair[0])

    def change(self, measured: Sequence[budget.Measured]) -> budget.Change:
        """Return the areal maps, the total and their errors."""
        study = self.study
        return budget.evaluate(
            measured, self.density(measured), study.voxel_um, study.physics.anode.k_species, self.whole
        )

    def identity(self) -> dict[str, Any]:
        """Return everything that the maps depend on."""
        study, physics = self.study, self.study.physics
        noise = [] if self.pair[0] == self.pair[1] else [found[self.pair].identity() for found in study.noise]
        return {
            "sums": [sums.step().digests() for sums in self.sums],
            "noise": noise,
            "errors": [errors_of(study.settings, physics, sums.series, self.pair).identity() for sums in self.sums],
            "closure": physics.closure.name,
            "anode": vars(physics.anode),
            "both": physics.both,
            "compositions": [study.compositions[k] for k in self.pair],
            "voxel_um": study.voxel_um,
            "whole": self.whole,
            "areal": image_identity(study.store, f"{PREFIX}areal") if self._between_maps else None,
        }

    def _louder(self, noise: noises.Noise, sums: Mapping[str, Array]) -> noises.Noise:
        """Return the noise of sums in which some voxels stand for others, too, and so count twice."""
        body = self.mask.body
        if body is None:
            return noise
        number, twice = int(sums["count"].sum()), int(sums["layers_count"][: body.near].sum())
        factor = float(np.sqrt(1 + twice / max(number, 1)))
        columns, region = noise.column_inflation * factor, noise.region_inflation * factor
        return replace(noise, column_inflation=columns, region_inflation=region)

    @property
    def _between_maps(self) -> bool:
        return self.consecutive and not self.study.physics.closure.proportional


def _between(study: Study, pair: Pair, count: Array) -> budget.Density:
    """Return the change between two scans as the difference of their changes against the reference.

    For closures whose change of density is no multiple of the change of attenuation.
    """
    areal = StoredArray(study.store.path / PREFIX / "areal" / "0")
    scale = np.maximum(count, 1) * study.voxel_um * 1e-4 * 1e3
    later, earlier = (np.asarray(areal[k], np.float64) for k in pair)
    density = np.nan_to_num(later - earlier) / scale
    return lambda changes: density  # noqa: ARG005


@dataclass(frozen=True)
class ArealSource:
    """Evaluates pairs of scans: an areal map, or that of its errors, of each scan; (1, y, x) regions."""

    name: str
    pairs: tuple[PairOfScans | None, ...]
    frame: tuple[int, int, int]

    def read(self, region: Region) -> Array:
        """Return a map, mg/cm2, NaN for a scan that failed."""
        pair = self.pairs[region[0].start]
        if pair is None:
            return np.full([part.stop - part.start for part in region], np.nan, np.float32)
        found = getattr(pair.change(pair.measured()), self.name)
        return np.asarray(found, np.float32)[None, region[1], region[2]]

    def nbytes(self, region: Region) -> int:
        """Return the bytes of the sums of a pair and of what is made of them, whatever the region."""
        del region
        return maps_bytes(self.frame) + EVALUATE_BYTES * self.frame[1] * self.frame[2]


def areal_passes(
    study: Study, pairs: Sequence[PairOfScans | None], consecutive: bool, known: bool = True
) -> list[Pass]:
    """Return the passes that write the areal maps (t, y, x) and their errors.

    With the errors stands in how many voxels the noise of each scan's change was measured. Not `known` before the sums
    are measured.
    """
    series, frame = study.series, study.series.frame
    failed = ["failed" if pair is None else None for pair in pairs]
    planes = [known and pair is not None and pair.identity() for pair in pairs]
    voxels = [
        min((found[pair].voxels if pair in found else 0) for found in study.noise) if study.noise else 0
        for pair in pairs_of(series, consecutive)
    ]
    common = {**along_t(series, study.times), "closure": study.physics.closure.name, "species": study.settings.species}
    steps = []
    for name, unit in AREAL.items():
        image = Image(
            f"{PREFIX}{name}{'_consecutive' * consecutive}",
            ("t", "y", "x"),
            (len(series.names), *frame[1:]),
            "float32",
            unit,
            1,
            voxel_um=series.volume.voxel_um,
            attributes={**common, **({"noise_voxels": voxels} if name == "areal_sigma" else {})},
        )
        depends = tuple(a or b for a, b in zip(failed, planes, strict=True))
        source, cpu_s = ArealSource(name, tuple(pairs), frame), EVALUATE_S * size_of(_whole(image))
        op = BlockOp("areal", VERSION, unchanged)
        steps.append(Pass(image, source, (op,), (1, *frame[1:]), (0,) * 3, {}, planes=depends, cpu_s=cpu_s))
    return side_by_side(steps)


def _whole(image: Image) -> Region:
    return tuple(slice(0, n) for n in image.shape)
