"""What the registration found, as tables: the motion of every scan, and local displacement on a grid of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import zarr

from xct_pipeline.config import LocalDisplacement
from xct_pipeline.registration import local
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.stage_volumes import Motion
from xct_pipeline.registration.stage_warp import PATH
from xct_pipeline.store import Store

UNITS = {
    "gain": "1", "offset": "1/cm", "gain_sigma": "1", "offset_sigma": "1/cm", "residual": "1/cm", "tre_self": "voxel",
    "check": "1/cm", "check_sigma": "1/cm", "variance_factor": "1", "kept": "1", "without_data": "voxels",
    **{f"m{i}{j}": "micrometre" if j == 3 else "1" for i in range(3) for j in range(4)},
}  # fmt: skip


def motion_table(motions: Sequence[Motion], voxel_um: float | None, without_data: Mapping[int, int]) -> pd.DataFrame:
    """Return one row per scan, transforms in micrometre (voxels where the voxel size is unknown)."""
    rows = []
    for k, motion in enumerate(motions):
        matrix = tf.voxels_to_um(motion.transform, voxel_um or 1.0)
        rows.append(
            {
                "scan": motion.name, "gain": motion.gain, "offset": motion.offset, "residual": motion.residual,
                "tre_self": motion.tre_self, "iterations": motion.iterations, **tf.to_row(matrix),
                "gain_sigma": motion.gain_sigma, "offset_sigma": motion.offset_sigma, "check": motion.check,
                "check_sigma": motion.check_sigma, "kept": motion.kept, "variance_factor": motion.variance_factor,
                "without_data": without_data.get(k, 0), "problem": motion.problem,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def displacement_table(
    settings: LocalDisplacement, store: Store, names: Sequence[str], reference: int, failed: Sequence[int]
) -> pd.DataFrame:
    """Correlate windows of each registered scan with the reference on a grid of nodes; a diagnostic.

    Returns
    -------
    DataFrame
        scan, z, y, x (voxel of the node), dz, dy, dx (voxels), correlation, residual, status.
    """
    series = zarr.open_array(str(store.path / PATH / "0"), mode="r")
    grid = local.node_grid(series.shape[1:], settings.spacing, settings.window)
    rows = []
    reach = settings.window // 2 + 8
    for t, name in enumerate(names):
        if t == reference or t in failed:
            continue
        for layer in grid:
            low = max(0, int(layer[0, 0, 0]) - reach)
            high = min(series.shape[1], int(layer[0, 0, 0]) + reach)
            nodes = layer.reshape(-1, 3) - [low, 0, 0]
            found = local.correlate_nodes(
                series[reference, low:high], series[t, low:high], nodes, window=settings.window
            )
            for k, node in enumerate(layer.reshape(-1, 3)):
                dz, dy, dx = found.vector[k]
                rows.append(
                    {
                        "scan": name, "z": node[0], "y": node[1], "x": node[2], "dz": dz, "dy": dy, "dx": dx,
                        "correlation": found.correlation[k], "residual": found.residual[k],
                        "status": local.STATUS[found.status[k]],
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


DISPLACEMENT_UNITS = {
    **dict.fromkeys(("z", "y", "x", "dz", "dy", "dx"), "voxel"),
    "correlation": "1",
    "residual": "1/cm",
}
