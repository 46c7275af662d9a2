"""Noise and resolution of the scans of a run: measured after their volumes, and brought into tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xct_pipeline.config import Config
from xct_pipeline.engine.blocks import Array, Pass
from xct_pipeline.engine.execution import measure
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.planning.estimates import Prepared
from xct_pipeline.planning.scan import geometry_of_scan, halves_of_scan
from xct_pipeline.reconstruction.steps.halves import TOO_SMALL, find_square, hindrance, square_step
from xct_pipeline.scan import ScanError
from xct_pipeline.store.store import Store


@dataclass(frozen=True)
class Halves:
    """What even and odd projections of a scan told, or why nothing is known.

    Attributes
    ----------
    found : mapping
        The result of `halves_step`; empty where nothing is known.
    digest : str or None
        Under which the store keeps it.
    problem : str
    """

    found: Mapping[str, Array] = field(default_factory=dict)
    digest: str | None = None
    problem: str = ""


def measure_halves(
    config: Config,
    entries: Sequence[Prepared],
    passes: Mapping[str, Pass],
    store: Store,
    limits: Resources,
    steps: Steps,
) -> dict[str, Halves]:
    """Compare even and odd projections of the scans that have a volume, one after the other.

    Parameters
    ----------
    passes : mapping
        Of each such scan, the one to its volume.
    """
    return {
        entry.item.name: _measured(config, entry, passes[entry.item.name], store, limits, steps)
        for entry in entries
        if entry.item.name in passes
    }


def _measured(config: Config, entry: Prepared, step: Pass, store: Store, limits: Resources, steps: Steps) -> Halves:
    if entry.item.scan is None:
        return Halves(problem="not available: starts from a volume")
    scan, frame, axis = entry.known()
    assert entry.fields is not None
    geometry = geometry_of_scan(config, scan, frame, axis)
    problem, square = hindrance(config.reconstruction, geometry), None
    try:
        if not problem:
            square = find_square(scan, frame, entry.fields, geometry, step, store, steps)
            problem = "" if square is not None else TOO_SMALL
        if square is not None:
            reduction = halves_of_scan(config, scan, frame, axis, step, square)
            return Halves(measure(store, reduction, limits, steps), reduction.digests()[0])
    except (ScanError, ValueError) as error:  # its volume is there all the same
        problem = str(error)
    steps.leave_out(name for name in (square_step(scan, frame).name, f"{scan.name}/halves") if name in steps)
    return Halves(problem=f"not available: {problem}")
