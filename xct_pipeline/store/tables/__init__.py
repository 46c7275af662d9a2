"""What the tables of a store hold: every column with its unit and meaning, each declared once.

A column that is declared without a unit it needs, or with one it has no use for, is an error where this package is
imported; a column that is not declared cannot be written.
"""

from __future__ import annotations

from collections.abc import Mapping

from xct_pipeline.store.columns import Table
from xct_pipeline.store.tables.electrochemistry import ELECTROCHEMISTRY
from xct_pipeline.store.tables.registration import REGISTRATION
from xct_pipeline.store.tables.scans import SCANS
from xct_pipeline.store.tables.segmentation import SEGMENTATION
from xct_pipeline.store.tables.variation import VARIATION

TABLES: Mapping[str, Table] = {
    table.name: table for table in (*SCANS, *REGISTRATION, *SEGMENTATION, *VARIATION, *ELECTROCHEMISTRY)
}

RENAMED: Mapping[str, Mapping[str, str]] = {"reconstruction": {"voxel_size": "voxel_size_um", "tilt": "tilt_deg"}}
"""Columns of tables that earlier versions wrote under another name."""


def units(table: str) -> dict[str, str]:
    """Return the unit of each column of a table that is a quantity; empty for a table that is not declared."""
    found = TABLES.get(table)
    return {} if found is None else {column.name: column.unit for column in found.columns if column.unit}
