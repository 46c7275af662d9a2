"""The noise of differences from even and odd projections: a check of what is measured where nothing changes.

Each scan's own noise is known in a box of its own volume. That of a difference follows: the moving scan's is resampled
as its volume was, put on the grey scale of the reference and added to the reference's. Noise differs from place to
place; high-frequency noise of the reference scan tells the box from the quiet part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.boxes import Region, inside, widen
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import estimated, image_identity, load_kept
from xct_pipeline.engine.resources import Need
from xct_pipeline.engine.steps import Estimate, Steps
from xct_pipeline.reconstruction.halves import MOST_SIDE
from xct_pipeline.reconstruction.steps.halves import ROWS
from xct_pipeline.registration import warp
from xct_pipeline.registration.steps.stage import PATH
from xct_pipeline.store.store import Store
from xct_pipeline.variation import mass
from xct_pipeline.variation import noise as noises
from xct_pipeline.variation.resampled import resampled
from xct_pipeline.variation.steps.series import PREFIX, VERSION, RegisteredSeries, box_source

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[int, int]

POINTS = 12  # along each axis, at which what resampling does is averaged
ALLOWED = 1.25  # ratio of the two measures of noise, or its inverse, that is not told
ONE, MANY = (1, 1, 1), (8, 8, 8)  # voxels whose sums are compared
COPIES = 6  # of the box, while the level of its noise is measured
LEVEL_S = 6e-8  # CPU-seconds per voxel


@dataclass(frozen=True)
class Halves:
    """What even and odd projections tell of the scans of a series.

    Attributes
    ----------
    series : RegisteredSeries
    order : str
        Of the interpolation by which scans were resampled.
    level : float
        High-frequency noise of the reference scan in its box, 1/cm.
    results : mapping
        Position of a scan to the result of its step.
    """

    series: RegisteredSeries
    order: str
    level: float
    results: Mapping[int, Mapping[str, Array]]

    def covariance(self, pair: Pair) -> Array | None:
        """Return the autocovariance of the difference of two scans in the box, (1/cm)^2; None where it is not known."""
        parts = [self._of_scan(scan) for scan in pair]
        return None if any(part is None for part in parts) else np.asarray(sum(p for p in parts if p is not None))

    def _of_scan(self, scan: int) -> Array | None:
        found = self.results.get(scan)
        if found is None:
            return None
        covariance = np.asarray(found["covariance"], np.float64)
        if scan == self.series.reference:
            return covariance
        motion = self.series.motions[scan]
        at = warp.positions(motion.transform, self.series.frame, POINTS).reshape(-1, 3)
        return motion.gain**2 * resampled(covariance, warp.cardinal_weights(at, self.order))


def level_step(series: RegisteredSeries, inputs: Mapping[str, Any] | None = None) -> Estimate:
    """Return the step that measures the high-frequency noise of the reference scan in the box of its halves."""
    voxels = int(np.prod([min(n, most) for n, most in zip(series.frame, (ROWS, MOST_SIDE, MOST_SIDE), strict=True)]))
    need = Need("", 1, 4 * COPIES * voxels, alone=True, cpu_s=LEVEL_S * voxels)
    return Estimate(f"{PREFIX}noise/halves", VERSION, need, inputs or {})


def halves_of_series(series: RegisteredSeries, store: Store, order: str, steps: Steps | None = None) -> Halves | None:
    """Return what even and odd projections tell of a series; None where they tell nothing of its reference.

    Parameters
    ----------
    order : str
        Of the interpolation by which scans were resampled.
    """
    results = {}
    for k, (name, digest) in enumerate(zip(series.names, series.halves, strict=False)):
        found = None if digest is None or k in series.failed else load_kept(store, f"{name}/halves", digest)
        if found is not None:
            results[k] = found
    if series.reference not in results:
        if steps is not None and level_step(series).name in steps:
            steps.leave_out([level_step(series).name])
        return None
    box = tuple(slice(int(a), int(b)) for a, b in results[series.reference]["box"])
    return Halves(series, order, _level(series, store, box, steps), results)


def _level(series: RegisteredSeries, store: Store, box: Region, steps: Steps | None) -> float:
    inputs = {
        "registered": image_identity(store, PATH),
        "reference": series.reference,
        "box": [(part.start, part.stop) for part in box],
    }

    def search() -> dict[str, Array]:
        source = box_source(series, store, [series.reference])
        wide = widen(box, source.halo, series.frame)
        # a voxel's noise is that of its differences with those that follow
        part = tuple(slice(p.start, min(p.stop + 1, w.stop)) for p, w in zip(box, wide, strict=True))
        values = source.read(box)[0][inside(wide, part)]
        sums = noises.level_sums(np.nan_to_num(values), np.isfinite(values), (0, 0, 0), values.shape)
        return {"level": np.array(noises.pooled_level(mass.Sums((0, 0, 0), sums.total, sums.count)))}

    return float(estimated(store, level_step(series, inputs), search, steps)["level"])


# ----------------------------------------------------------------------------------------------- compared


def write_noise(
    halves: Halves | None, store: Store, measured: Mapping[Pair, noises.Noise], rings: pd.DataFrame
) -> list[str]:
    """Write the table of rings and of both measures of noise, a row for each scan; return warnings."""
    table = compared(halves, measured)
    store.write_table("noise", rings.merge(table, how="left", on="scan"))
    return warnings_of(table)


def compared(halves: Halves | None, measured: Mapping[Pair, noises.Noise]) -> pd.DataFrame:
    """Return the noise of each scan's difference to the reference where nothing changes, measured and from halves."""
    import pandas as pd

    rows = []
    for scan, name in enumerate(() if halves is None else halves.series.names):
        assert halves is not None
        pair = (scan, halves.series.reference)
        covariance, noise = halves.covariance(pair), measured.get(pair)
        if covariance is None or noise is None or not noise.quiet > 0:
            continue
        place = noise.quiet / halves.level
        quiet, expected = _deviation(noise.covariance, ONE), _deviation(covariance, ONE) * place
        sums = _deviation(noise.covariance, MANY) / (_deviation(covariance, MANY) * place)
        row = {"scan": name, "noise_quiet": quiet, "noise_halves": expected}
        rows.append(row | {"ratio": quiet / expected, "ratio_sums": sums})
    return pd.DataFrame(rows, columns=["scan", "noise_quiet", "noise_halves", "ratio", "ratio_sums"])


def _deviation(covariance: Array, box: tuple[int, int, int]) -> float:
    """Return the standard deviation of the sum over a box; NaN where the autocovariance gives no variance."""
    lag = [n // 2 for n in covariance.shape]
    variance = float((covariance * noises.box_overlap(box, lag)).sum())
    return float(np.sqrt(variance)) if variance > 0 else np.nan


def warnings_of(table: pd.DataFrame) -> list[str]:
    """Return in which scans the two measures of a voxel's noise disagree, and what that may mean."""
    told = []
    for word, off in (("larger", table[table["ratio"] > ALLOWED]), ("smaller", table[table["ratio"] < 1 / ALLOWED])):
        if len(off):
            worst = off.sort_values("ratio").iloc[-1 if word == "larger" else 0]
            why = (
                "what changed there, or what differs between scans at all angles alike (rings), is taken for noise"
                if word == "larger"
                else "the quiet part is smoother than the rest, or too few projections leave streaks in their halves"
            )
            told.append(
                f"{worst['scan']}: the noise measured where nothing changes is {worst['ratio']:.2f} times that of even "
                f"and odd projections ({len(off)} of {len(table)} scans {word} by more than {ALLOWED - 1:.0%}): {why}"
            )
    return told
