"""Profiles, bins and materials: mean change of density per cell of a region, with its error.

A cell is a set of voxels: a shell about the axis, a layer at one depth, a bin, a material. Its noise is that of the
sum over the set, from the autocovariance and the number of voxel pairs in the set at each lag (`noise`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xct_pipeline.device import Array
from xct_pipeline.variation import mass, noise, ring_terms, uncertainty
from xct_pipeline.variation.budget import Density, Measured, Scatter, terms_of
from xct_pipeline.variation.noise import Noise

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Pairs:
    """Voxel pairs of sets of voxels, for exact errors of sums over them.

    Attributes
    ----------
    pairs : numpy.ndarray
        ``(sets, 2 lag_z + 1, 2 lag_y + 1, 2 lag_x + 1)``.
    columns : numpy.ndarray
        ``(sets, y, x)`` voxels of each set per block of `block` columns along y and x.
    block : int
    """

    pairs: Array
    columns: Array
    block: int

    def noise(self, found: Noise) -> Scatter:
        """Return noise and rings of the sum of each set, 1/cm times voxels."""
        size = (1, self.block, self.block)
        level = mass.bin_sums(found.level[None] ** 2, np.ones((1, *found.level.shape), bool), (0, 0, 0), size).mean[0]
        share = (self.columns * level).sum(axis=(1, 2)) / np.maximum(self.columns.sum(axis=(1, 2)), 1)
        blocks = np.ones((self.block, self.block), bool)
        where = [np.kron(columns > 0, blocks) for columns in self.columns]
        variance = np.array([found.set_variance(*each) for each in zip(self.pairs, where, strict=True)])
        sigma = np.asarray(np.sqrt(variance * share) * found.region_inflation)
        return Scatter(sigma, ring_terms.set_rings(found, self.columns, self.block))


def radial_noise(found: Noise, columns: Array, shells: Array, counts: Array) -> Array:
    """Return the noise of sums over shells about the axis, 1/cm times voxels.

    Parameters
    ----------
    found : Noise
    columns : array, (y, x)
        Voxels of the region per column.
    shells : array of int, (y, x)
        Shell of each column.
    counts : array
        Voxels of each shell.
    """
    inside = columns > 0
    index = np.where(inside, shells, -1)
    number = len(counts)
    area = np.bincount(index[inside], minlength=number)
    level = np.bincount(index[inside], weights=found.level[inside] ** 2, minlength=number) / np.maximum(area, 1)
    plane = noise.plane_pairs(index, number, found.lag[1:])
    lags = np.abs(np.arange(-found.lag[0], found.lag[0] + 1))
    variance = np.zeros(number)
    for cell in np.flatnonzero(counts):
        height = max(round(counts[cell] / area[cell]), 1)
        pairs = np.maximum(height - lags, 0)[:, None, None] * plane[cell]
        variance[cell] = noise.sum_variance(found.covariance, pairs) * counts[cell] / (height * area[cell])
    return np.asarray(np.sqrt(variance * level) * found.region_inflation)


def layer_noise(found: Noise, columns: Array, counts: Array) -> Array:
    """Return the noise of sums over layers one voxel thick that cover the region's cross-section, 1/cm times voxels."""
    inside = columns > 0
    pairs = noise.prism_overlap(1, inside, found.lag)
    area = max(int(inside.sum()), 1)
    level = float((found.level[inside] ** 2).mean())
    variance = found.set_variance(pairs, inside) / area * counts
    return np.asarray(np.sqrt(variance * level) * found.region_inflation)


def bin_noise(found: Noise, size: tuple[int, int, int], counts: Array) -> Array:
    """Return the noise of sums over bins of `size` voxels, of which `counts` (z, y, x) are in the region."""
    full = int(np.prod(size))
    variance = found.box_variance(size) / full * counts
    blocks = mass.bin_sums(
        found.level[None] ** 2, np.ones((1, *found.level.shape), bool), (0, 0, 0), (1, *size[1:])
    ).mean[0]
    inflation = max(found.region_inflation, found.column_inflation)
    return np.asarray(np.sqrt(variance * blocks) * inflation)


def cell_table(
    measured: Sequence[Measured], kind: str, noises: Sequence[Scatter] | None, density: Density, voxel_um: float
) -> pd.DataFrame:
    """Return the change of density, and per layer or cell of mass, of each cell that holds voxels.

    Parameters
    ----------
    measured : sequence of Measured
        One per energy.
    kind : str
        Of the cells in their sums.
    noises : sequence of Scatter or None
        Noise and rings of the sums over cells at each energy; None where the two scans are one.
    density : callable
    voxel_um : float

    Returns
    -------
    DataFrame
        ``cell, density_g_cm3, sigma_density_g_cm3, areal_mg_cm2, sigma_areal_mg_cm2`` (of a layer one voxel thick),
        ``mass_change_mg, sigma_mg, voxels``.
    """
    import pandas as pd

    sums = [m.cells(kind) for m in measured]
    count = sums[0]["count"]
    used = np.flatnonzero(count)
    flat = [{name: values[..., used] for name, values in s.items()} for s in sums]
    n = count[used]
    total = density([s["change"] / n for s in flat]) * n
    if noises is None:
        total, sigma = np.zeros(len(used)), np.zeros(len(used))
    else:
        sigma = uncertainty.combine(
            terms_of(measured, flat, [Scatter(*(v[used] for v in part)) for part in noises], total, 1.0)
        )
    layer, volume = voxel_um * 1e-4 * 1e3, (voxel_um * 1e-4) ** 3 * 1e3
    return pd.DataFrame(
        {
            "cell": used,
            "density_g_cm3": total / n,
            "sigma_density_g_cm3": sigma / n,
            "areal_mg_cm2": total / n * layer,
            "sigma_areal_mg_cm2": sigma / n * layer,
            "mass_change_mg": total * volume,
            "sigma_mg": sigma * volume,
            "voxels": n,
        }
    )


def region_tables(
    measured: Sequence[Measured], density: Density, voxel_um: float, depth: int, bins: tuple[int, int, int] | None
) -> dict[str, pd.DataFrame]:
    """Return the profiles over depth and radius and the table of bins of one pair of scans, those that were summed.

    Parameters
    ----------
    measured, density, voxel_um
        As for `cell_table`.
    depth : int
        Planes of the frame.
    bins : (z, y, x) or None
        Voxels per bin.
    """
    columns = measured[0].sums["count"]
    still = any(m.noise is None for m in measured)
    found = [m.noise for m in measured if m.noise is not None]
    tables = {}
    profile = ["density_g_cm3", "sigma_density_g_cm3", "areal_mg_cm2", "sigma_areal_mg_cm2", "voxels"]
    for kind, axis in (("depth", "depth_um"), ("radial", "radius_um")):
        if f"{kind}_count" not in measured[0].sums:
            continue
        counts = measured[0].sums[f"{kind}_count"]
        if kind == "radial":
            shells = mass.radial_index((1, *columns.shape), (0, 0, 0), (1, *columns.shape))[0]
            noises = [
                Scatter(radial_noise(n, columns, shells, counts), ring_terms.radial_rings(n, columns, shells, counts))
                for n in found
            ]
        else:
            noises = [
                Scatter(layer_noise(n, columns, counts), ring_terms.layer_rings(n, columns, counts)) for n in found
            ]
        table = cell_table(measured, kind, None if still else noises, density, voxel_um)
        table.insert(0, axis, (table["cell"] + 0.5) * voxel_um)
        tables[f"{kind}_profile"] = table[[axis, *profile]]
    if bins is not None:
        frame = tuple(-(-n // b) for n, b in zip((depth, *columns.shape), bins, strict=True))
        counts = measured[0].sums["bins_count"].reshape(frame)
        noises = [
            Scatter(bin_noise(n, bins, counts).ravel(), ring_terms.bin_rings(n, bins, counts).ravel()) for n in found
        ]
        table = cell_table(measured, "bins", None if still else noises, density, voxel_um)
        place = np.unravel_index(table["cell"].to_numpy(), frame)
        table = table.assign(**dict(zip("zyx", place, strict=True)))
        wanted = ["z", "y", "x", "density_g_cm3", "sigma_density_g_cm3", "mass_change_mg", "sigma_mg", "voxels"]
        tables["bins"] = table[wanted]
    return tables


def joined(names: Sequence[str], tables: Sequence[Mapping[str, pd.DataFrame] | None]) -> dict[str, pd.DataFrame]:
    """Put the tables of all scans (None: one that failed) under each other, with a first column for the scan."""
    import pandas as pd

    kinds = {kind for part in tables if part is not None for kind in part}
    result = {}
    for kind in sorted(kinds):
        parts = [
            part[kind].assign(scan=name)
            for name, part in zip(names, tables, strict=True)
            if part is not None and len(part[kind])
        ]
        if parts:
            whole = pd.concat(parts, ignore_index=True)
            result[kind] = whole[["scan", *(column for column in whole if column != "scan")]]
    return result
