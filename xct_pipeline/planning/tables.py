"""The tables of the scans of a run: how each was reconstructed, and what its halves tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xct_pipeline.config import Config
from xct_pipeline.engine.execution import PassResult
from xct_pipeline.planning.estimates import Prepared
from xct_pipeline.planning.halves import Halves
from xct_pipeline.planning.scan import pixel_um
from xct_pipeline.reconstruction.steps.table import halves_columns, shells_table, table_row, volume_row, write_table
from xct_pipeline.store import layout
from xct_pipeline.store.store import Store

Ended = tuple[Prepared, Sequence[PassResult], str | None, Halves | None]
"""What is known of a scan, the passes that were run, its problem, and what its halves tell."""


def write_scans(config: Config, store: Store, scans: Sequence[Ended]) -> None:
    """Write how each scan was reconstructed, and the correlation of its halves where that was asked for."""
    write_table(store, [_row(config, *scan) for scan in scans])
    stale = (store.path / layout.TABLE(table="shell_correlation")).exists()  # of an earlier run
    if config.reconstruction.halves or stale:
        known = [(entry.item.name, halves.found, _pixel(config, entry)) for entry, _, _, halves in scans if halves]
        store.write_table("shell_correlation", shells_table(known))


def _row(
    config: Config, entry: Prepared, passes: Sequence[PassResult], problem: str | None, halves: Halves | None
) -> dict[str, Any]:
    item = entry.item
    pixel = _pixel(config, entry)
    split = None if halves is None else halves_columns(halves.found, halves.problem, pixel)
    if item.volume is not None:
        return volume_row(item.name, item.volume, passes, problem, split)
    known = item.scan is not None
    return table_row(
        item.name, known, entry.center, entry.tilt, entry.motion, entry.fields, pixel, passes, problem, split
    )


def _pixel(config: Config, entry: Prepared) -> float | None:
    return None if entry.item.scan is None else pixel_um(config, entry.item.scan)
