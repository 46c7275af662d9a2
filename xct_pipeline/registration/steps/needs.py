"""What registration takes, known before it begins: memory, tasks, time and disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xct_pipeline.config import Registration
from xct_pipeline.engine.execution import passes_need
from xct_pipeline.engine.resources import Forecast, Resources
from xct_pipeline.registration import local
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.steps.local import displacement_need
from xct_pipeline.registration.steps.motions import matching_need
from xct_pipeline.registration.steps.volumes import Motion, Volume
from xct_pipeline.registration.steps.warp import series_pass
from xct_pipeline.store.store import Store

WARP_RATE = 12e6  # voxels per CPU-second, read and written
NOMINAL_DEGREES = 1.0  # of the turn that the blocks to be read are predicted for; a larger one is met with less workers


def forecast(settings: Registration, volume: Volume, count: int, store: Store, limits: Resources) -> Forecast:
    """Return what registering `count` scans like `volume` takes."""
    turned = tf.rigid(np.radians([NOMINAL_DEGREES] * 3) / np.sqrt(3), [2.0] * 3, (np.array(volume.shape) - 1) / 2)
    motions = [Motion("", turned)] * count
    step = series_pass(settings, [volume] * count, motions, -1, [None] * count, store, limits)
    voxels = count * float(np.prod(volume.shape))
    needs = [
        matching_need(volume.shape, volume.levels, max(count - 1, 0)),
        replace(passes_need([step], "warp"), cpu_s=voxels / WARP_RATE),
    ]
    if settings.local is not None:
        grid = local.node_grid(volume.shape, settings.local.spacing, settings.local.window)
        needs.append(displacement_need(settings.local, grid, count - 1))
    return Forecast("registration", tuple(needs), step.image.nbytes())
