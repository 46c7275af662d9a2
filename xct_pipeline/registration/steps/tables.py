"""The table of motions: one row per scan, in the order of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.steps.volumes import Motion

if TYPE_CHECKING:
    import pandas as pd


def motion_table(motions: Sequence[Motion], voxel_um: float | None, without_data: Sequence[int]) -> pd.DataFrame:
    """Return one row per scan, transforms in micrometre (voxels where the voxel size is unknown).

    A scan without a motion has no figure in its row, so that none can be taken for its motion.
    """
    import pandas as pd

    rows = []
    for motion, missing in zip(motions, without_data, strict=True):
        matrix = tf.voxels_to_um(motion.transform, voxel_um or 1.0)
        row = {
            "gain": motion.gain,
            "offset": motion.offset,
            "residual": motion.residual,
            "tre_self": motion.tre_self,
            "iterations": motion.iterations,
            **tf.to_row(matrix),
            "gain_sigma": motion.gain_sigma,
            "offset_sigma": motion.offset_sigma,
            "check": motion.check,
            "check_sigma": motion.check_sigma,
            "kept": motion.kept,
            "variance_factor": motion.variance_factor,
            "rings": motion.rings,
        }
        if motion.problem is not None:
            row = dict.fromkeys(row, np.nan)
        left = " ".join(motion.undetermined) or None
        rows.append(
            {
                "scan": motion.name,
                **row,
                "undetermined": left,
                "undetermined_shift": motion.undetermined_shift,
                "undetermined_turn": motion.undetermined_turn,
                "without_data": missing,
                "problem": motion.problem,
            }
        )
    return pd.DataFrame(rows)
