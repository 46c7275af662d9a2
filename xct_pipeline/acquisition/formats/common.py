"""What a format of raw files is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from xct_pipeline.scan import Frames, Scan, ScanError

Kind = Literal["flat", "dark"]


class Run(NamedTuple):
    """Flats or darks that were found in a file: the frames, when they were taken, the files, exposures in seconds."""

    frames: Frames
    start: datetime | None
    files: list[Path]
    exposure_s: npt.NDArray[np.float64] | None = None


class Recognise(Protocol):
    """Tell whether a file is of the format; with `kind`, whether flats or darks can be taken out of it."""

    def __call__(self, path: Path, entry: str | None, kind: Kind | None) -> bool: ...  # noqa: D102


class Open(Protocol):
    """Open a file as a scan that is not yet checked; ScanError says what is wrong in one line."""

    def __call__(  # noqa: D102
        self, path: Path, entry: str | None, *, pixel_size_um: float | None, energy_keV: float | None
    ) -> Scan: ...


class References(Protocol):
    """Take flats or darks out of a file, or out of several that make one stack."""

    def __call__(self, paths: Sequence[Path], entry: str | None, kind: Kind) -> Run: ...  # noqa: D102


@dataclass(frozen=True)
class Format:
    """A format of raw files.

    Attributes
    ----------
    name : str
        As messages say it.
    rank : int
        A file is shown to formats in this order; the first that recognises it takes it.
    suffixes : tuple of str
        Endings of files that can be opened by themselves, lower case with their dot.
    recognise : Recognise
    open : Open
    references : References
    together : bool
        All files of a list of flats or darks make one stack; else each is a run of its own.
    """

    name: str
    rank: int
    suffixes: tuple[str, ...]
    recognise: Recognise
    open: Open
    references: References
    together: bool = False


def frames_of_kind(path: Path, run: Scan, kind: Kind) -> Run:
    """Return the frames of the wanted kind; all frames of a run that holds no other kind.

    Raises
    ------
    ScanError
        There are only other kinds of frames.
    """
    wanted = run.flats if kind == "flat" else run.darks
    other = run.darks if kind == "flat" else run.flats
    if wanted is None and other is None and run.projections.shape[0]:
        wanted = run.projections
    if wanted is None:
        raise ScanError(f"{path}: holds no {kind}s, only other kinds of frames")
    exposure = run.exposure_s.get("projections" if wanted is run.projections else f"{kind}s")
    return Run(wanted, run.start, list(run.files), exposure)
