"""A scan without some of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.scan import Frames, Scan, ScanError


@dataclass(frozen=True, eq=False)
class DerivedFrames:
    """Frames that are made from a stack: of its shape, type and rows that are decoded together.

    Attributes
    ----------
    whole : Frames
        The stack.
    """

    whole: Frames

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""
        return self.whole.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return self.whole.dtype

    @property
    def chunk_rows(self) -> int:
        """That of the stack."""
        return self.whole.chunk_rows


@dataclass(frozen=True, eq=False)
class SelectedFrames(DerivedFrames):
    """Some frames of a stack.

    Attributes
    ----------
    index : numpy.ndarray of int
        The frames that are kept, increasing (or decreasing).
    """

    index: npt.NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""
        return len(self.index), *self.whole.shape[1:]

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Read a box: run by run of neighbouring frames, so that nothing is read that is left out."""
        wanted = self.index[frames]
        if len(wanted) == 0:
            return self.whole.read(slice(0, 0), rows, columns)
        if len(wanted) > 1 and wanted[0] > wanted[-1]:
            return np.ascontiguousarray(self._runs(wanted[::-1], rows, columns)[::-1])
        return self._runs(wanted, rows, columns)

    def _runs(self, wanted: npt.NDArray[np.intp], rows: slice, columns: slice) -> npt.NDArray[Any]:
        parts = [self.whole.read(slice(first, last + 1), rows, columns) for first, last in runs(wanted)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def runs(numbers: Sequence[int] | npt.NDArray[Any]) -> list[tuple[int, int]]:
    """Return the runs of neighbouring numbers, first and last, of increasing ones."""
    ordered = np.asarray(numbers, np.intp)
    if ordered.size == 0:
        return []
    breaks = np.flatnonzero(np.diff(ordered) != 1)
    firsts, lasts = np.append(0, breaks + 1), np.append(breaks, ordered.size - 1)
    return [(int(ordered[a]), int(ordered[b])) for a, b in zip(firsts, lasts, strict=True)]


def runs_in_words(numbers: Sequence[int] | npt.NDArray[Any], examples: int = 3) -> str:
    """Return numbers as people write them: ``3, 7 to 12 and 40``; of more runs than `examples` only those."""
    parts = [str(a) if a == b else f"{a} and {b}" if b == a + 1 else f"{a} to {b}" for a, b in runs(numbers)]
    if len(parts) > examples:
        return f"{', '.join(parts[:examples])} ..."
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def without(
    scan: Scan,
    projections: Sequence[int] | npt.NDArray[Any] = (),
    flats: Sequence[int] | npt.NDArray[Any] = (),
    darks: Sequence[int] | npt.NDArray[Any] = (),
) -> Scan:
    """Leave frames out of a scan.

    The reconstruction weighs every projection by the gaps beside it, so that the neighbours of one that is left out
    take its share of the turn.

    Parameters
    ----------
    scan : Scan
    projections, flats, darks : sequence of int
        Numbers of the frames within their kind, from 0.

    Returns
    -------
    Scan
        Itself where nothing is left out. Positions of flats and darks count the projections that are kept.

    Raises
    ------
    ScanError
        A number outside the scan.
    """
    kept = {}
    for kind, left_out in (("projections", projections), ("flats", flats), ("darks", darks)):
        frames: Frames | None = getattr(scan, kind)
        count = frames.shape[0] if frames is not None else 0
        numbers = np.unique(np.asarray(left_out, np.intp))
        if numbers.size and not 0 <= numbers[0] <= numbers[-1] < count:
            raise ScanError(f"{scan.name}: {kind} {numbers[-1]} cannot be left out: there are {count}, from 0 on")
        kept[kind] = np.setdiff1d(np.arange(count), numbers)
    if len(kept["projections"]) < scan.shape[0]:
        before = np.concatenate([[0.0], np.cumsum(np.isin(np.arange(scan.shape[0]), kept["projections"]))])
        taken = np.arange(scan.shape[0] + 1.0)
        scan = replace(
            scan,
            projections=SelectedFrames(scan.projections, kept["projections"]),
            angles=scan.angles[kept["projections"]],
            flat_position=np.interp(scan.flat_position, taken, before),
            dark_position=np.interp(scan.dark_position, taken, before),
            exposure_s={**scan.exposure_s, **_picked(scan, "projections", kept["projections"])},
        )
    for kind in ("flats", "darks"):
        frames = getattr(scan, kind)
        if frames is not None and len(kept[kind]) < frames.shape[0]:
            position = f"{kind[:-1]}_position"
            some = SelectedFrames(frames, kept[kind]) if len(kept[kind]) else None
            new = {kind: some, position: getattr(scan, position)[kept[kind]]}
            scan = replace(scan, **new, exposure_s={**scan.exposure_s, **_picked(scan, kind, kept[kind])})
    return scan


def _picked(scan: Scan, kind: str, kept: npt.NDArray[np.intp]) -> dict[str, npt.NDArray[np.float64]]:
    return {kind: scan.exposure_s[kind][kept]} if kind in scan.exposure_s else {}
