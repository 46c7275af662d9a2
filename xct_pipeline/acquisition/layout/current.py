"""Counts brought to one current of the storage ring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.layout.source import parse, read_values, read_with_unit
from xct_pipeline.acquisition.layout.times import Clock
from xct_pipeline.acquisition.selection import DerivedFrames
from xct_pipeline.scan import Frames, Scan, ScanError

STEADY = 1e-3  # relative change of the ring current that is none


@dataclass(frozen=True, eq=False)
class EvenFrames(DerivedFrames):
    """Counts above the dark level brought to one current of the storage ring, float32.

    Attributes
    ----------
    whole : Frames
        Counts.
    factor : numpy.ndarray
        For each frame: mean current over its own.
    darks : Frames or None
        Without beam: their mean is what no current changes.
    full : float or None
        Counts at which a pixel is saturated; it stays so.
    """

    factor: npt.NDArray[np.float64]
    darks: Frames | None
    full: float | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of scaled counts."""
        return np.dtype(np.float32)

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Read a box and scale it."""
        counts = self.whole.read(frames, rows, columns)
        level = np.zeros(counts.shape[1:])
        if self.darks is not None and counts.size:
            level = self.darks.read(slice(None), rows, columns).mean(axis=0, dtype=np.float64)
        scaled = (level + (counts - level) * self.factor[frames][:, None, None]).astype(np.float32)
        return scaled if self.full is None else np.where(counts >= self.full, counts, scaled).astype(np.float32)


def even_current(scan: Scan, keys: Mapping[str, Any], home: Path, clock: Clock) -> Scan:
    """Bring counts to one current of the storage ring, where the file has it and it changed."""
    if "current" not in keys or not clock.kinds:
        return scan
    values = read_values(parse(keys["current"]), home)
    current = values.floats()
    total = sum(len(index) for index in clock.kinds.values())
    if "current_times" in keys:
        at = read_with_unit(keys["current_times"], home)[0].floats()
        if clock.raw is None or len(at) != len(current):
            raise ScanError(f"{values.where}: {len(at)} times for {len(current)} currents, or no times of the frames")
        current = np.interp(clock.raw, at, current)
    largest = max(int(index.max()) for index in clock.kinds.values() if len(index))
    if len(current) <= largest:
        raise ScanError(f"{values.where}: {len(current)} currents for {total} frames: name current_times")
    beam = np.concatenate([clock.kinds["projections"], clock.kinds["flats"]])
    if not np.all(current[beam] > 0):
        raise ScanError(f"{values.where}: the current is not above 0 in every frame with beam")
    usual = float(np.median(current[beam]))
    if np.ptp(current[beam]) < STEADY * usual:
        return scan
    own = scan.flats is not None and len(clock.kinds["flats"]) == scan.flats.shape[0]
    if not own:
        return replace(
            scan, warnings=(*scan.warnings, f"the ring current of the flats is not known: {values.name} is not used")
        )
    even: dict[str, Any] = {}
    for kind, frames in (("projections", scan.projections), ("flats", scan.flats)):
        assert frames is not None
        if len(clock.kinds[kind]) != frames.shape[0]:
            raise ScanError(f"{values.where}: cannot be used with frames that are averaged or left out")
        even[kind] = EvenFrames(frames, usual / current[clock.kinds[kind]], scan.darks, scan.saturation)
    low, high = current[beam].min(), current[beam].max()
    told = f"counts are brought to one ring current ({low:.4g} to {high:.4g}, {values.name})"
    files = tuple(dict.fromkeys((*scan.files, *sorted(values.files))))
    return replace(scan, **even, files=files, warnings=(*scan.warnings, told))
