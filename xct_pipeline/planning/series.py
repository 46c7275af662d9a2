"""What scans that start as volumes must have in common with the others of a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xct_pipeline.acquisition.volumes.given import NOT_MEASURED
from xct_pipeline.planning.scan import ScanPlan
from xct_pipeline.scan import AnyScan, without_date

SAME_VOXEL = 1e-3  # relative difference of voxel sizes that a rigid match can hide


def of_one_series(scans: Sequence[ScanPlan]) -> tuple[ScanPlan, ...]:
    """Return scans, those of one series with volumes: what they cannot be matched with is a problem, else told.

    That projections are missing is told once, at the first volume.
    """
    good = [item for item in scans if item.taken is not None]
    if not any(item.volume is not None for item in good):
        return tuple(scans)
    first, result, told = good[0], [], False
    dated = any(_has_date(item.taken) for item in good)
    for item in scans:
        if item.taken is not None and item is not first:
            item = _against(item, first)
        if item.volume is not None and dated and without_date(item.volume.start):
            item = _refused(item, "its time is known in seconds alone, that of other scans with a date: give start")
        if item.volume is not None and not told:
            told = True
            item = replace(item, warnings=(*item.warnings, _missing(scans)))
        result.append(item)
    return tuple(result)


def _has_date(taken: AnyScan | None) -> bool:
    return taken is not None and taken.start is not None and not without_date(taken.start)


def _against(item: ScanPlan, first: ScanPlan) -> ScanPlan:
    """Compare a scan with the first one of its series."""
    mine, other = (each.passes[-1].image for each in (item, first))
    if mine.voxel_um is None or other.voxel_um is None:
        return _refused(item, f"the voxels of {item.name if mine.voxel_um is None else first.name} are of unknown size")
    if abs(mine.voxel_um - other.voxel_um) > SAME_VOXEL * other.voxel_um:
        return _refused(
            item,
            f"its voxels are {mine.voxel_um:.6g} um, those of {first.name} {other.voxel_um:.6g} um: a series has one "
            "size of voxel; resample it, or correct voxel_um",
        )
    if mine.shape != other.shape and item.volume is not None:
        sizes = (" x ".join(map(str, image.shape)) for image in (mine, other))
        text = f"it has {next(sizes)} voxels, {first.name} {next(sizes)}: what lies outside the reference is left out"
        return replace(item, warnings=(*item.warnings, text))
    return item


def _refused(item: ScanPlan, why: str) -> ScanPlan:
    return ScanPlan(item.name, item.files, None, None, (), f"{item.name}: {why}")


def _missing(scans: Sequence[ScanPlan]) -> str:
    names = [item.name for item in scans if item.volume is not None]
    if len(names) == 1:
        who = f"{'this scan' if len(scans) == 1 else names[0]} starts from a volume"
    else:
        who = f"{f'all {len(names)} scans' if len(names) == len(scans) else ', '.join(names)} start from volumes"
    return (
        f"{who}, without projections: not known are {NOT_MEASURED}; errors of the mass that come of them are in no "
        "term; noise is measured between the volumes"
    )
