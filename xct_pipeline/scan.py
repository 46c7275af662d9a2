"""What one raw acquisition is, once its file format no longer matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Axis:
    """Where the rotation axis meets the detector.

    Attributes
    ----------
    column : float
        At the middle row, pixels (0 = centre of the first pixel), of the detector or of a working frame.
    tilt : float
        Angle to the detector's columns, degrees, positive where the column grows with the row. Projections are
        turned by it about the detector's middle before they are reconstructed.
    lean : float
        Angle along the beam that slices are reconstructed with, degrees, positive where what lies farther along the
        ray of angle 0 is seen at larger rows.
    """

    column: float
    tilt: float = 0.0
    lean: float = 0.0


NO_DATE = datetime(1000, 1, 1)
"""A time that is known in seconds alone, on the clock of the cycler's log, is counted from here."""


def without_date(moment: datetime | None) -> bool:
    """Tell whether a time is known in seconds alone."""
    return moment is not None and moment.tzinfo is None and moment.year < 1100


class AnyScan(Protocol):
    """What stages after the reconstruction know of a scan, whether it starts as projections or as a volume.

    Attributes
    ----------
    name, pixel_size_um, energy_keV, start, end
        As `Scan` has them.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def pixel_size_um(self) -> float | None: ...  # noqa: D102

    @property
    def energy_keV(self) -> float | None: ...  # noqa: D102

    @property
    def start(self) -> datetime | None: ...  # noqa: D102

    @property
    def end(self) -> datetime | None: ...  # noqa: D102


class ScanError(ValueError):
    """Raw data that cannot be used. The message names the file, the dataset and what to do."""


class Frames(Protocol):
    """A stack of detector frames that is read in pieces and can be sent to another process.

    Attributes
    ----------
    shape : tuple of int
        (frame, row, column).
    dtype : numpy dtype
        As stored.
    chunk_rows : int
        Detector rows that are read (and decompressed) together; 1 where any row can be read alone.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...  # noqa: D102

    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102

    @property
    def chunk_rows(self) -> int: ...  # noqa: D102

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Read a box; slices may have steps. Raises ScanError where the data cannot be read."""
        ...


@dataclass(frozen=True)
class ArrayFrames:
    """Frames held in memory, for small data and tests."""

    data: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""
        n, r, c = self.data.shape
        return n, r, c

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return self.data.dtype

    @property
    def chunk_rows(self) -> int:
        """Any row can be read alone."""
        return 1

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Copy a box of the array."""
        return np.ascontiguousarray(self.data[frames, rows, columns])


@dataclass(frozen=True)
class Scan:
    """One raw acquisition, opened lazily.

    Attributes
    ----------
    name : str
        The file's stem, or the name given in the configuration.
    projections : Frames
        (angle, row, column), counts.
    flats, darks : Frames or None
        (frame, row, column), counts; None where the scan has none.
    flat_position, dark_position : numpy.ndarray of float
        For each flat (dark) frame the number of projections taken before it: 0 before the scan,
        ``len(angles)`` after it. The time axis of the interpolation between flats.
    angles : numpy.ndarray of float64
        Radians, one per projection, as recorded (jitter, wraps and direction kept).
    pixel_size_um : float or None
        Detector pixel in the sample plane, micrometre.
    energy_keV : float or None
        Photon energy.
    distance_mm : float or None
        From sample to detector, for phase retrieval.
    saturation : float or None
        Counts at and above which a pixel is saturated (largest value of an integer type, unless known).
    exposure_s : mapping
        Exposure of every frame, seconds: ``projections``, ``flats`` and ``darks``, those that the file tells.
    pixel_mask : numpy.ndarray of bool or None
        (row, column), True where the file says that a pixel has no value.
    start, end : datetime or None
        Time of the acquisition.
    files : tuple of Path
        Every file whose change means other data, for fingerprints.
    warnings : tuple of str
        What the reader noticed, each a sentence for the user.
    metadata : mapping
        Whatever else is worth showing (sample name, instrument ...): plain strings and numbers.
    """

    name: str
    projections: Frames
    angles: npt.NDArray[np.float64]
    flats: Frames | None = None
    darks: Frames | None = None
    flat_position: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    dark_position: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    pixel_size_um: float | None = None
    energy_keV: float | None = None
    distance_mm: float | None = None
    saturation: float | None = None
    exposure_s: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    pixel_mask: npt.NDArray[np.bool_] | None = None
    start: datetime | None = None
    end: datetime | None = None
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(angle, row, column) of the projections."""
        return self.projections.shape
