"""What moved otherwise than the cell: displacement on a grid of nodes, and the motion of named fragments.

Diagnostics only. Nothing is warped by them: that would move mass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xct_pipeline.config import LocalDisplacement, RegionOfInterest, Registration
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import estimated, image_identity
from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.engine.scheduling import run_tasks
from xct_pipeline.engine.steps import Estimate, Steps, path_name
from xct_pipeline.region import VERSION as REGION_VERSION
from xct_pipeline.region import painted_digest
from xct_pipeline.registration import local
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.levels import Level, RegistrationError
from xct_pipeline.registration.rigid import register
from xct_pipeline.registration.search import template_shift
from xct_pipeline.registration.steps.masks import Mask
from xct_pipeline.registration.steps.motions import matching_need
from xct_pipeline.registration.steps.volumes import Motion, Volume, matched_level
from xct_pipeline.registration.steps.warp import PATH
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.store.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd

VERSION = 3
REACH = 16  # voxels beyond a window: search, smoothing and what a window may move
TILE = 128  # voxels: nodes so near to each other are read together
TILE_COPIES = 8  # of the two blocks: as read, filtered along each axis, and what matching one window takes
NODE_SECONDS = 5e-7  # CPU-seconds per node and voxel of its window
GROWN = 2  # voxels by which a labelled fragment is grown, so that its edges are matched
MARGIN = 16  # voxels about a fragment, within which it may have moved
SEARCHED = 3_000_000  # voxels of the boxes in which a fragment is looked for; larger ones are binned

STRAINS = ("zz", "yy", "xx", "zy", "zx", "yx")


# --------------------------------------------------------------------------------------------- displacement


def displacement_table(
    settings: LocalDisplacement,
    store: Store,
    names: Sequence[str],
    reference: int,
    failed: Sequence[int],
    limits: Resources,
    steps: Steps | None = None,
) -> pd.DataFrame:
    """Correlate windows of each registered scan with the reference on a grid of nodes; cached in the store.

    Returns
    -------
    DataFrame
        One row per scan and node: scan, z, y, x (voxel of the node), dz, dy, dx (voxels beyond the scan's motion, in
        the reference's frame, NaN unless converged), correlation, residual, status, and the Green-Lagrange strain
        strain_zz ... strain_yx from the nodes around.
    """
    import pandas as pd

    series = StoredArray(store.path / PATH / "0")
    grid = local.node_grid(series.shape[1:], settings.spacing, settings.window)
    key = {"settings": settings.model_dump(mode="json"), "series": image_identity(store, PATH)}
    tables = []
    for t, name in enumerate(names):
        if t == reference or t in failed:
            continue
        step = displacement_step(settings, series.shape[1:], name, key)
        found = estimated(store, step, partial(_displacement, settings, series, grid, reference, t, limits), steps)
        tables.append(_displacement_rows(name, grid, found, settings.spacing))
    return pd.concat(tables, ignore_index=True) if tables else _displacement_rows("", grid[:0], None, settings.spacing)


def _displacement(
    settings: LocalDisplacement, series: Any, grid: Array, reference: int, t: int, limits: Resources
) -> dict[str, Array]:
    """Return the fields of `local.Displacement` on the grid, found tile by tile."""
    tiles = list(_tiles(grid.shape[:3], settings.spacing))
    fields: dict[str, Array] = {
        "vector": np.full(grid.shape, np.nan),
        "correlation": np.full(grid.shape[:3], np.nan),
        "residual": np.full(grid.shape[:3], np.nan),
        "status": np.zeros(grid.shape[:3], np.int8),
    }
    calls = [(tile, settings, series, grid[tile], reference, t) for tile in tiles]
    for tile, found in run_tasks(_correlate_tile, calls, displacement_need(settings, grid), limits):
        for field, values in fields.items():
            values[tile] = getattr(found, field)
    return fields


def displacement_step(
    settings: LocalDisplacement, shape: Sequence[int], name: str, inputs: Mapping[str, Any] | None = None
) -> Estimate:
    """Return the step that correlates the nodes of a scan with the reference."""
    grid = local.node_grid(shape, settings.spacing, settings.window)
    return Estimate(f"{name}/displacement", VERSION, displacement_need(settings, grid), inputs or {})


def displacement_need(settings: LocalDisplacement, grid: Array) -> Need:
    """Return what correlating the nodes of a scan with the reference takes."""
    side = settings.window + 2 * REACH
    tiles = sum(1 for _ in _tiles(grid.shape[:3], settings.spacing))
    seconds = grid[..., 0].size * float(settings.window) ** 3 * NODE_SECONDS
    return Need("displacement", tiles, 4 * TILE_COPIES * 2 * side * (side + TILE) ** 2, cpu_s=seconds)


def _tiles(counts: Sequence[int], spacing: int) -> Iterator[tuple[slice, slice, slice]]:
    together = max(1, TILE // spacing)
    for z in range(counts[0]):
        for y in range(0, counts[1], together):
            for x in range(0, counts[2], together):
                yield slice(z, z + 1), slice(y, y + together), slice(x, x + together)


def _correlate_tile(
    tile: tuple[slice, slice, slice], settings: LocalDisplacement, series: Any, nodes: Array, reference: int, t: int
) -> tuple[tuple[slice, slice, slice], local.Displacement]:
    reach = settings.window // 2 + REACH
    flat = nodes.reshape(-1, 3)
    low = np.maximum(flat.min(axis=0) - reach, 0)
    high = np.minimum(flat.max(axis=0) + reach, series.shape[1:])
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    fixed, moving = (np.asarray(series[(k, *box)]) for k in (reference, t))
    return tile, local.correlate_nodes(fixed, moving, nodes - low, window=settings.window)


def _displacement_rows(name: str, grid: Array, found: dict[str, Array] | None, spacing: int) -> pd.DataFrame:
    import pandas as pd

    nodes = grid.reshape(-1, 3)
    count = len(nodes)
    vector = found["vector"].reshape(-1, 3) if found is not None else np.empty((0, 3))
    strain = local.strain(found["vector"], spacing).reshape(-1, 3, 3) if found is not None else np.empty((0, 3, 3))
    columns: dict[str, Any] = {"scan": [name] * count}
    columns |= {axis: nodes[:, k] for k, axis in enumerate("zyx")}
    columns |= {f"d{axis}": vector[:, k] for k, axis in enumerate("zyx")}
    for field in ("correlation", "residual"):
        columns[field] = found[field].ravel() if found is not None else []
    columns["status"] = [local.STATUS[k] for k in found["status"].ravel()] if found is not None else []
    columns |= {f"strain_{pair}": strain[:, "zyx".index(pair[0]), "zyx".index(pair[1])] for pair in STRAINS}
    return pd.DataFrame(columns)


# ------------------------------------------------------------------------------------------------ fragments


class Fragment(NamedTuple):
    """Part of the reference that may have moved by itself."""

    name: str
    level: int
    """of the pyramid, on which it is matched"""
    box: tuple[slice, slice, slice]
    """voxels of that level that hold it and its surroundings"""
    middle: Array
    """(z, y, x) of its extent, full-size voxels"""
    mask: Mask
    voxels: int
    """of full size"""


def fragment_table(
    settings: Registration,
    store: Store,
    volumes: Sequence[Volume | None],
    motions: Sequence[Motion],
    reference: int,
    limits: Resources,
    steps: Steps | None = None,
) -> pd.DataFrame:
    """Register each named fragment by itself, beginning from its scan's motion; cached in the store.

    Returns
    -------
    DataFrame
        One row per scan and fragment: scan, fragment, voxels, z, y, x (its middle), dz, dy, dx (how far its middle
        moved beyond the scan's motion, voxels of the reference's frame), rotation_z ... (the same of its rotation),
        tre_self, residual, correlation, kept, m00 ... m23 (its whole motion, as in the table of registration), problem.
    """
    import pandas as pd

    fixed = volumes[reference]
    assert fixed is not None
    rows: list[dict[str, Any]] = []
    for name, region in settings.fragments.items():
        fragment = _fragment(name, region, fixed, store)
        for k, (volume, motion) in enumerate(zip(volumes, motions, strict=True)):
            if k == reference or volume is None or motion.problem is not None:
                continue
            if isinstance(fragment, str):
                rows.append({"scan": motion.name, "fragment": name, "problem": fragment})
            else:
                rows.append(_fragment_row(settings, fragment, fixed, volume, motion, store, limits, steps))
    return pd.DataFrame(rows, columns=[column.name for column in TABLES["fragments"].columns])


def fragment_step(
    fragment: str, shape: Sequence[int], levels: int, name: str, inputs: Mapping[str, Any] | None = None
) -> Estimate:
    """Return the step that registers a fragment of a scan by itself; it takes no more than the whole scan would."""
    need = matching_need(shape, levels)
    return Estimate(f"{name}/fragments/{path_name(fragment)}", VERSION, need, inputs or {})


def _fragment(name: str, region: RegionOfInterest, fixed: Volume, store: Store) -> Fragment | str:
    """Find where a fragment is, or say why it cannot be matched."""
    try:
        low, high, voxels = _extent(Mask(region, fixed, fixed.array(store), 0, store, grow=GROWN))
    except ValueError as error:
        return f"fragment {name}: {error}"
    if not voxels:
        return f"fragment {name}: its region holds none of the {'x'.join(map(str, fixed.shape))} voxels"
    middle = (low + high - 1) / 2
    low, high = np.maximum(low - MARGIN, 0), np.minimum(high + MARGIN, fixed.shape)
    level = matched_level(high - low, fixed.levels)
    box = tuple(slice(int(a) >> level, max(int(b) >> level, 1)) for a, b in zip(low, high, strict=True))
    mask = Mask(region, fixed, fixed.array(store, level), level, store, grow=GROWN)
    return Fragment(name, level, box, middle, mask, voxels)  # type: ignore[arg-type]


def _extent(mask: Mask, thickness: int = 64) -> tuple[Array, Array, int]:
    """Return the first voxel of a mask, the one after its last, and how many there are."""
    low, high, voxels = np.array(mask.shape), np.zeros(3, int), 0
    for start in range(0, mask.shape[0], thickness):
        slab = mask[start : start + thickness]
        where = [np.flatnonzero(slab.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        if len(where[0]):
            where[0] = where[0] + start
            low = np.minimum(low, [w[0] for w in where])
            high = np.maximum(high, [w[-1] + 1 for w in where])
            voxels += int(slab.sum())
    return low, high, voxels


def _fragment_row(
    settings: Registration,
    fragment: Fragment,
    fixed: Volume,
    moving: Volume,
    motion: Motion,
    store: Store,
    limits: Resources,
    steps: Steps | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {"scan": moving.name, "fragment": fragment.name, "voxels": fragment.voxels}
    region = settings.fragments[fragment.name]
    painted = None if region.painted is None else painted_digest(Path(region.painted))  # by content, wherever it lies
    key = {
        "region": {**region.model_dump(mode="json"), "painted": painted},
        "regions": REGION_VERSION,
        "smoothing": settings.smoothing,
        "start": motion.transform.tolist(),
        "reference": fixed.identity,
        "moving": moving.identity,
        "range": [settings.max_rotation, settings.max_shift],
    }
    step = fragment_step(fragment.name, fixed.shape, fixed.levels, moving.name, key)
    match = partial(_match_fragment, settings, fragment, fixed, moving, motion, store, limits)
    try:
        found = estimated(store, step, match, steps)
    except RegistrationError as error:
        return {**row, "problem": f"{moving.name}, fragment {fragment.name}: {error}"}
    middle = fragment.middle
    beyond = tf.compose(tf.invert(motion.transform), found["transform"])
    moved, turned = tf.apply(beyond, middle) - middle, np.degrees(tf.rotation_vector(beyond))
    return {
        **row,
        **dict(zip(("z", "y", "x"), middle, strict=True)),
        **dict(zip(("dz", "dy", "dx"), moved, strict=True)),
        **dict(zip(("rotation_z", "rotation_y", "rotation_x"), turned, strict=True)),
        **{name: found[name].item() for name in ("tre_self", "residual", "correlation", "kept")},
        **tf.to_row(tf.voxels_to_um(found["transform"], fixed.voxel_um or 1.0)),
        "undetermined": " ".join(map(str, found["undetermined"])) or None,
    }


def _match_fragment(
    settings: Registration,
    fragment: Fragment,
    fixed: Volume,
    moving: Volume,
    motion: Motion,
    store: Store,
    limits: Resources,
) -> dict[str, Array]:
    """Register the box about a fragment with the part of the scan where the scan's motion puts it."""
    level, box = fragment.level, fragment.box
    scale = 2.0**level
    start = tf.to_level(motion.transform, scale)
    corner = np.array([part.start for part in box])
    size = np.array([part.stop - part.start for part in box])
    middle = corner + (size - 1) / 2
    other = corner + np.rint(tf.apply(start, middle) - middle).astype(int)
    volumes = fixed.array(store, level)[box], _padded(moving.array(store, level), other, size)
    mask = fragment.mask[box[0]][:, box[1], box[2]]
    shift = _rough_shift(volumes[0], volumes[1], mask)
    found = register(
        [Level(*volumes, mask, 1.0)],
        start=_shifted(start, corner, shift - other),
        smoothing=settings.smoothing,
        max_shift=settings.max_shift and settings.max_shift / scale,
        max_rotation=settings.max_rotation,
        memory=0.3 * limits.memory,
    )
    values = {"tre_self": scale * found.tre_self, "residual": found.residual, "correlation": found.correlation}
    return {
        "transform": tf.from_level(_shifted(found.transform, -corner, other), scale),
        "kept": np.array(found.kept),
        "undetermined": np.array(found.undetermined, dtype=str),
        **{name: np.array(value) for name, value in values.items()},
    }


def _rough_shift(fixed: Array, moving: Array, mask: Array) -> Array:
    """Return where a fragment is found again, voxels of the boxes, looked for on boxes binned to a few million."""
    scale = 1
    while fixed.size / scale**3 > SEARCHED:
        scale *= 2
    size = [n // scale * scale for n in fixed.shape]
    blocks = tuple(k for n in size for k in (n // scale, scale))

    def binned(volume: Array) -> Array:
        kept = np.asarray(volume[tuple(slice(0, n) for n in size)], np.float32)
        return np.asarray(kept.reshape(blocks).mean(axis=(1, 3, 5)), np.float32)

    shift = template_shift(binned(fixed), binned(moving), binned(mask) > 0.5, -(-MARGIN // scale))
    return np.asarray(scale * shift, np.float64)


def _shifted(transform: Array, first: Array, last: Array) -> Array:
    """Return the transform between boxes: `first` is added to a point before it, `last` after it."""
    return tf.compose(tf.translation(last), tf.compose(transform, tf.translation(first)))


def _padded(volume: Any, low: Array, size: Array) -> Array:
    """Read a box of a volume, NaN where it reaches beyond it."""
    out = np.full(tuple(size), np.nan, np.float32)
    first = np.clip(low, 0, volume.shape)
    last = np.clip(low + size, 0, volume.shape)
    if (last > first).all():
        inner = tuple(slice(int(a), int(b)) for a, b in zip(first - low, last - low, strict=True))
        out[inner] = volume[tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))]
    return out
