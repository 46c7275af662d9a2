"""The images of the stage: changes of attenuation and of density, and flags."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region, inside, size_of, widen
from xct_pipeline.config import Variation
from xct_pipeline.engine.blocks import Array, BlockOp, Nothing, Pass, Source
from xct_pipeline.engine.execution import image_identity
from xct_pipeline.registration.steps.stage import GRANULE, PATH, series_image, whole_chunks
from xct_pipeline.store.derived import Plane, Term
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.threads import Shared
from xct_pipeline.variation import mass, uncertainty
from xct_pipeline.variation.closures import FLAGS as CLOSURE_FLAGS
from xct_pipeline.variation.steps.physics import Physics
from xct_pipeline.variation.steps.series import ATTENUATION, DENSITY, FLAGS, VERSION, RegisteredSeries, pairs_of

FACE = 64
KEPT_SHELLS = 32  # of granules, a bit for each voxel
FLAG_MEANING = {**CLOSURE_FLAGS, FACE: "within a few voxels of a strong face, where motion and blur leave a dipole"}
Pair = tuple[int, int]
CHANGE_RATE, DENSITY_RATE, FLAGS_RATE = 40e6, 50e6, 30e6  # voxels per CPU-second


def along_t(series: RegisteredSeries, times: Sequence[float | None]) -> dict[str, Any]:
    """Return what an image keeps about its planes along t: times and scans."""
    return {"time_s": list(times), "scans": list(series.names)}


@dataclass(frozen=True)
class PairSource:
    """Reads differences of two planes in time of registered series; (1, z, y, x) regions.

    Attributes
    ----------
    folders : tuple of str
        The series, at two energies one of each.
    pairs : tuple of tuple of (moving, fixed)
        For each plane in time of the result: one pair, or two that are to be subtracted.
    failed : tuple of int
    """

    folders: tuple[str, ...]
    pairs: tuple[tuple[Pair, ...], ...]
    failed: tuple[int, ...] = ()

    def read(self, region: Region) -> Array:
        """Return moving - fixed (1 or 2, z, y, x): zeros where they are one scan, NaN for a scan that failed."""
        shape = tuple(part.stop - part.start for part in region[1:])
        pairs = self.pairs[region[0].start]
        block = np.empty((len(self.folders) * len(pairs), *shape), np.float32)
        for k, (folder, (moving, fixed)) in enumerate(itertools.product(self.folders, pairs)):
            if moving in self.failed:
                block[k] = np.nan
            elif moving == fixed:
                block[k] = 0
            else:
                series = StoredArray(folder)
                earlier, later = (np.asarray(series[(t, *region[1:])]) for t in (fixed, moving))
                block[k] = mass.change(earlier, later)
        return block

    def nbytes(self, region: Region) -> int:
        """Return the bytes of both planes, their differences, and the encoded chunks of one."""
        blocks = len(self.folders) * max(map(len, self.pairs))
        return size_of(region) * (12 + 4 * blocks) + size_of(whole_chunks(region[1:])) * 4


def unchanged(block: Any, before: Region, after: Region) -> Any:
    """Return what was read."""
    del before, after
    return block


def change_pass(
    series: RegisteredSeries, store: Store, times: Sequence[float | None], consecutive: bool, known: bool = True
) -> Pass:
    """Return the pass that writes the change of attenuation; not `known` before the series is there."""
    path = ATTENUATION + "_consecutive" * consecutive
    pairs = pairs_of(series, consecutive)
    image = series_image(path, series.volume, len(series.names), "float32", series.volume.unit, along_t(series, times))
    source = PairSource((str(store.path.resolve() / PATH / "0"),), tuple((pair,) for pair in pairs), series.failed)
    inputs = {"registered": image_identity(store, PATH)} if known else {}
    op = BlockOp("change", VERSION, unchanged)
    cpu_s = float(np.prod(image.shape)) / CHANGE_RATE
    return Pass(image, source, (op,), (1, *GRANULE), (0,) * 4, inputs, planes=_planes(series, pairs), cpu_s=cpu_s)


def _planes(series: RegisteredSeries, values: Sequence[Any]) -> tuple[Any, ...]:
    """Return what each plane in time depends on: a value, and whether its scan failed."""
    return tuple("failed" if k in series.failed else value for k, value in enumerate(values))


def density_passes(
    series: RegisteredSeries,
    settings: Variation,
    physics: Physics,
    compositions: Sequence[float | None],
    store: Store,
    times: Sequence[float | None],
    second: Store | None,
    consecutive: bool,
    known: bool = True,
) -> list[Pass]:
    """Return the passes that write the change of density of the species, and its flags.

    Not `known` before the registered series is there, from whose values a face is told.

    The change between consecutive scans is that of `DENSITY`: where the closure is not linear in the change of
    attenuation, the difference of the two changes against the reference.
    """
    suffix = "_consecutive" * consecutive
    pairs = pairs_of(series, consecutive)
    apart = consecutive and not physics.closure.proportional
    against = pairs_of(series, consecutive=False)
    stores = [store] if second is None else [store, second]
    differences = tuple(tuple(against[j] for j in pair) if apart else (pair,) for pair in pairs)
    folders = tuple(str(s.path.resolve() / PATH / "0") for s in stores)
    source = PairSource(folders, differences, series.failed)
    inputs = {"registered": [image_identity(s, PATH) for s in stores]} if known else {}
    attributes = {**along_t(series, times), "closure": physics.closure.name, "species": settings.species}
    faces = Faces(
        str(store.path.resolve() / PATH / "0"),
        series.reference,
        series.frame,
        face_gradient(series, store) if known else 0.0,
        settings.shell_width,
    )
    parameters = {
        "closure": physics.closure.name,
        "anode": vars(physics.anode),
        "second_keV": settings.second_energy_keV,
    }
    w = tuple((compositions[k], compositions[j]) for k, j in pairs)
    passes = []
    for name, dtype, unit, flags in ((DENSITY + suffix, "float32", "g/cm3", False), (FLAGS, "uint8", "1", True)):
        if flags and consecutive:
            continue
        more = {"flags": {str(bit): text for bit, text in FLAG_MEANING.items()}} if flags else {}
        image = series_image(name, series.volume, len(series.names), dtype, unit, {**attributes, **more}, labels=flags)
        function = partial(
            _density,
            physics=physics,
            compositions=w,
            same=tuple(k == j for k, j in pairs),
            failed=series.failed,
            faces=faces if flags else None,
        )
        shell = {"face_gradient": faces.threshold, "shell_width": faces.width} if flags else {}
        scratch = flags_bytes if flags else closure_bytes
        op = BlockOp(f"closure.{physics.closure.name}", VERSION, function, {**parameters, **shell}, scratch=scratch)
        depends = _planes(series, list(zip(pairs, w, strict=True)))
        cpu_s = float(np.prod(image.shape)) / (FLAGS_RATE if flags else DENSITY_RATE)
        read: Source = source if physics.flags or not flags else Nothing()
        passes.append(
            Pass(image, read, (op,), (1, *GRANULE), (0,) * 4, inputs, planes=depends, cpu_s=cpu_s, by_place=flags)
        )
    return passes


def differences(series: RegisteredSeries, consecutive: bool) -> list[Plane]:
    """Return each plane of the change of attenuation as arithmetic on the registered series."""
    pairs = pairs_of(series, consecutive)
    return [None if k in series.failed else () if k == j else ((k, j, 1.0, 0.0),) for k, j in pairs]


def has_formula(physics: Physics) -> bool:
    """Tell whether the change of density is arithmetic on the registered series of this store alone."""
    return physics.closure.linear and physics.closure.energies == 1


def densities(
    series: RegisteredSeries, physics: Physics, compositions: Sequence[float | None], consecutive: bool
) -> list[Plane]:
    """Return each plane of the change of density as arithmetic on the registered series; see `density_passes`."""
    against = pairs_of(series, consecutive=False)
    return [
        None if k in series.failed else () if k == j else _density_plane(physics, compositions, (k, j), against)
        for k, j in pairs_of(series, consecutive)
    ]


def _density_plane(
    physics: Physics, compositions: Sequence[float | None], pair: Pair, against: Sequence[Pair]
) -> Plane:
    """Return the change of density between two scans, None where a composition that it needs is not known."""
    later, earlier = pair
    if not all(physics.knows(compositions[k]) for k in pair):
        return None
    if physics.closure.proportional or pair == against[later]:
        slope, base = _line(physics, compositions[later])
        return ((later, earlier, slope, base),)
    terms: list[Term] = []
    for k, sign in ((later, 1), (earlier, -1)):
        slope, base = _line(physics, compositions[k])
        terms.append((*against[k], sign * slope, sign * base))
    return tuple(terms)


def _line(physics: Physics, w: float | None) -> tuple[float, float]:
    """Return slope and base of a linear closure."""
    base, other = np.asarray(physics.change([np.array([0.0, 1.0])], w).species).tolist()
    return other - base, base


@dataclass(frozen=True)
class Faces:
    """The shell at strong faces of the reference scan, read by a task with its halo and shared with later scans."""

    folder: str
    reference: int
    frame: tuple[int, int, int]
    threshold: float
    width: int
    kept: Shared = field(default_factory=partial(Shared, KEPT_SHELLS), compare=False, repr=False)

    def shell(self, region: Region) -> Array:
        """Return the voxels of a (z, y, x) region that lie in the shell."""
        shape = tuple(part.stop - part.start for part in region)
        key = tuple((part.start, part.stop) for part in region)
        bits = self.kept.get(key, lambda: np.packbits(self._find(region)))
        return np.unpackbits(bits, count=size_of(region)).view(np.bool_).reshape(shape)

    def _find(self, region: Region) -> Array:
        halo = (uncertainty.shell_halo(self.width),) * 3
        wide = widen(region, halo, self.frame)
        series = StoredArray(self.folder)
        block = np.asarray(series[(self.reference, *wide)])
        block = block if np.isfinite(block).all() else np.nan_to_num(block)
        marked = uncertainty.edge_shell(block, threshold=self.threshold, width=self.width)
        return np.asarray(marked[inside(wide, region)])


def face_gradient(series: RegisteredSeries, store: Store) -> float:
    """Return the gradient (1/cm per voxel) from which a voxel of the reference scan lies at a strong face."""
    array = StoredArray(store.path / PATH / "0")
    planes = np.unique(np.linspace(0, series.frame[0] - 1, 16).astype(int))
    sample = np.concatenate([np.asarray(array[series.reference, z])[::2, ::2].ravel() for z in planes.tolist()])
    low, high = np.nanpercentile(sample, [1, 99])
    return float(high - low) / 5


def closure_bytes(region: Region) -> int:
    """Return the scratch of a closure."""
    return size_of(region) * 32


def flags_bytes(region: Region) -> int:
    """Return the scratch of a closure and of finding the shell at faces."""
    return size_of(region) * 32


def _density(
    block: Any,
    before: Region,
    region: Region,
    *,
    physics: Physics,
    compositions: tuple[tuple[float | None, float | None], ...],
    same: tuple[bool, ...],
    failed: tuple[int, ...],
    faces: Faces | None,
) -> Any:
    del before
    k = region[0].start
    later, earlier = compositions[k]
    if faces is not None and not physics.flags:  # nothing was read
        return _flagged(None, faces.shell(region[1:])[None])
    if k in failed or same[k] or not (physics.knows(later) and physics.knows(earlier)):
        empty = np.zeros_like(block[:1]) if same[k] and k not in failed else np.full_like(block[:1], np.nan)
        density, flags = empty, np.zeros(empty.shape, np.uint8)
    elif len(block) > 1 and physics.both is None:
        parts = [physics.change([change[None]], w) for change, w in zip(block, (later, earlier), strict=True)]
        density, flags = parts[0].species - parts[1].species, parts[0].flags
    else:
        found = physics.change([block[:1], block[1:]] if len(block) > 1 else [block], later)
        density, flags = found.species, np.asarray(found.flags)
    if faces is None:
        return density
    return _flagged(flags, faces.shell(region[1:])[None])


def _flagged(flags: Array | None, shell: Array) -> tuple[Array, dict[str, int]]:
    """Return flags with that of the shell at faces, and how many voxels have either; None where there are no others."""
    near = shell.view(np.uint8) * np.uint8(FACE)
    impossible = 0 if flags is None else int(np.count_nonzero(flags))
    counts = {"impossible": impossible, "near_face": int(np.count_nonzero(shell))}
    return near if flags is None else flags | near, counts
