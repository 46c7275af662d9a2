"""What a run would take, stage by stage: from the shapes of the raw scans and the configuration alone."""

from __future__ import annotations

from collections.abc import Sequence

from xct_pipeline.config import Config, Registration
from xct_pipeline.engine.resources import Forecast, Resources
from xct_pipeline.plan.scan import ScanPlan
from xct_pipeline.reconstruction.steps.needs import forecast as of_reconstruction
from xct_pipeline.registration.steps import stage as registration
from xct_pipeline.segmentation.steps import stage as segmentation
from xct_pipeline.store.store import Store
from xct_pipeline.variation.steps import stage as variation


def forecasts(config: Config, scans: Sequence[ScanPlan], limits: Resources, stages: Sequence[str]) -> list[Forecast]:
    """Return a forecast of each of `stages` that is configured, from the scans that can be used."""
    good = [(item, item.scan, item.frame) for item in scans if item.scan is not None and item.frame is not None]
    found = [
        of_reconstruction(config, [(scan, frame) for _, scan, frame in good], [item.passes for item, _, _ in good])
    ]
    if "registration" not in stages or not good:
        return found
    settings = config.registration or Registration()
    names = [item.name for item in scans]
    reference = registration.reference_index(settings, names)
    image = next((item for item, _, _ in good if item.name == names[reference]), good[0][0]).passes[-1].image
    volume = registration.Volume(
        "", image.path, (image.shape[0], image.shape[1], image.shape[2]), image.levels, image.voxel_um, image.unit, ""
    )
    found.append(registration.forecast(settings, volume, len(names), Store(config.store_path), limits))
    times = (None,) * len(names)
    if "segmentation" in stages and config.segmentation is not None:
        facts = segmentation.Facts(tuple(names), (), reference, volume, times)
        found.append(segmentation.forecast(config.segmentation, facts))
    if "variation" in stages and config.variation is not None:
        raw = tuple(item.scan for item in scans)
        series = variation.Series(tuple(names), (), reference, volume, (), raw)
        known = not variation.check(config, raw, volume.shape)
        found.append(variation.forecast(config.variation, settings, series, known))
    return found
