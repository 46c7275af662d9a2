"""What an entry of the benchmark is: one tool doing one step, at its best settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

OURS = "xct_pipeline"


class Problem(NamedTuple):
    """Sizes that all entries of a run share."""

    columns: int
    angles: int
    rows: int
    """slices that are computed together"""
    voxels: int
    """side of the volumes of the steps over time"""
    folder: Path
    """for what is shared between the entries' processes"""

    @property
    def center(self) -> float:
        """Column of the axis: not a whole number of pixels, and off the middle."""
        return (self.columns - 1) / 2 + 0.0034 * self.columns


class Job(NamedTuple):
    """A prepared entry."""

    call: Callable[[], Any]
    units: float
    """slices (or million voxels, or scans) that one call is worth"""
    error: Callable[[Any], float] | None = None
    """of the call's result, against the closed form"""
    warm: Callable[[], Any] | None = None
    """a smaller call that compiles; by default the call itself"""


class Entry(NamedTuple):
    """One line of the table."""

    step: str
    tool: str
    settings: str
    needs: tuple[str, ...]
    """modules that must be importable"""
    prepare: Callable[[Problem], Job]
    slow: bool = False
    """left out of --quick"""
