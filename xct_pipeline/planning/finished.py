"""What a finished store is told by: the key of a run, and the centres that were found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import xct_pipeline
from xct_pipeline.acquisition.steps import scan_identity
from xct_pipeline.config import Config, SegmentClassifier
from xct_pipeline.config.section import painted_masks
from xct_pipeline.engine.execution import load_kept
from xct_pipeline.engine.record import Record, record_file
from xct_pipeline.planning.plan import Plan
from xct_pipeline.planning.scan import ScanPlan
from xct_pipeline.reconstruction.center.find import CenterEstimate
from xct_pipeline.reconstruction.steps import stage as reconstruction
from xct_pipeline.store import provenance
from xct_pipeline.store.store import Store


def run_key(plan: Plan) -> str:
    """Return a hash that changes with everything that the store of a run is made from, the code included."""
    package = Path(xct_pipeline.__file__).parent
    key: dict[str, Any] = {
        "code": provenance.file_identity(package.rglob("*.py")),
        "config": plan.config.model_dump(mode="json"),
        "on_device": plan.limits.on_device,
        "scans": {item.name: None if item.scan is None else scan_identity(item.scan) for item in plan.scans},
        "volumes": {item.name: item.volume.identity for item in plan.scans if item.volume is not None},
        "files": provenance.file_identity(outside_files(plan.config)),
        "steps": [[step.name, step.digests()] for step in plan.steps],
    }
    return provenance.fingerprint(key)


def outside_files(config: Config) -> Iterator[Path]:
    """Yield the files that a run reads beside the raw scans."""
    segmentation, variation = config.segmentation, config.variation
    named = list(painted_masks(config))
    if isinstance(segmentation, SegmentClassifier):
        named.append(str(segmentation.labels))
    named += [table.times for table in config.acquisition.volume if table.times is not None]
    if config.electrochemistry is not None:
        named += config.electrochemistry.files
    for name in named:
        path = config.resolve(name)
        yield from (file for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    if variation is not None and variation.second_store is not None:
        second = Store(config.resolve(variation.second_store))
        yield from filter(Path.is_file, (record_file(second), second.path / "tables" / "registration.csv"))


def finished_centers(
    config: Config, scans: Sequence[ScanPlan], store: Store, record: Record
) -> list[CenterEstimate | None]:
    """Return the centre of rotation of each scan as the last run found it, None where the store does not keep it."""
    found: list[CenterEstimate | None] = []
    for item in scans:
        name = f"{item.name}/center"
        digest = record.digests.get(name)
        if item.volume is not None:
            found.append(None)
            continue
        if item.axis is not None:
            found.append(reconstruction.given_center(item.axis))
            continue
        kept = None if digest is None else load_kept(store, name, digest[0])
        assert item.frame is not None
        found.append(None if kept is None else reconstruction.restored_center(kept, item.frame))
    known = [center for center in found if center is not None]
    if config.reconstruction.center == "common" and known:
        common = reconstruction.common_center(known)
        return [common if center is not None else None for center in found]
    return found
