"""Images in files of their own: TIFF and, with the extra ``formats``, EDF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.hdf5 import counts_dtype, one_line, piece, reading
from xct_pipeline.acquisition.tiff_stack import is_tiff, tiff_frames
from xct_pipeline.inputs import require_regular
from xct_pipeline.scan import Frames, ScanError

EXTRA = "pip install 'xct-pipeline[formats]'"


@dataclass(frozen=True, eq=False)
class EdfFrames:
    """Frames in EDF files, read through fabio.

    Attributes
    ----------
    places : tuple of (Path, int)
        For each frame, its file and its number in it.
    height, width : int
        Rows and columns.
    dtype : numpy dtype
        As stored, in the machine's byte order.
    """

    places: tuple[tuple[Path, int], ...]
    height: int
    width: int
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""
        return len(self.places), self.height, self.width

    @property
    def chunk_rows(self) -> int:
        """A frame is decoded whole."""
        return self.height

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Read a box."""
        wanted = self.places[frames]
        top, bottom, inner_rows = piece(rows, self.height)
        left, right, inner_columns = piece(columns, self.width)
        box = np.empty((len(wanted), bottom - top, right - left), self.dtype)
        for k, (path, number) in enumerate(wanted if box.size else ()):
            with _edf(path) as image:
                data = image.data if number == 0 else image.get_frame(number).data
                if data.shape != (self.height, self.width):
                    raise ScanError(one_line(f"{path}: image {number} is {data.shape}, the first {self.shape[1:]}"))
                box[k] = data[top:bottom, left:right]
        return np.ascontiguousarray(box[:, inner_rows, inner_columns])


def is_edf(path: Path) -> bool:
    """Tell whether the file begins as EDF does and is called so."""
    with reading(one_line(str(path))), path.open("rb") as stream:
        return path.suffix.lower() in (".edf", ".ehf") and stream.read(64).lstrip()[:1] == b"{"


class _edf:
    """Opens an EDF file for a while; what is wrong with it or lacking here is a ScanError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        try:
            import fabio
        except ImportError:
            raise ScanError(
                one_line(f"{self.path}: EDF is read through fabio, which is not installed: {EXTRA}")
            ) from None
        with reading(one_line(str(self.path))):
            require_regular(self.path)
            self.image = fabio.open(str(self.path))
        return self.image

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.image.close()
        if error is not None and not isinstance(error, ScanError) and isinstance(error, Exception):
            raise ScanError(one_line(f"{self.path}: cannot be read ({str(error)[:300]})")) from error


def edf_frames(paths: Sequence[Path]) -> EdfFrames:
    """Open EDF files as one stack, in the order given.

    Raises
    ------
    ScanError
        Missing or damaged files, images of several shapes or types, or fabio is not installed.
    """
    places: list[tuple[Path, int]] = []
    first: tuple[tuple[int, ...], np.dtype[Any]] | None = None
    for path in paths:
        with _edf(path) as image:
            kind = tuple(image.shape), np.dtype(image.data.dtype)
            places += [(path, number) for number in range(int(image.nframes))]
        if len(kind[0]) != 2 or kind[1].kind not in "uif":
            raise ScanError(one_line(f"{path}: images are {kind[1]} {kind[0]}, expected grey values (row, column)"))
        first = first or kind
        if kind != first:
            raise ScanError(
                one_line(f"{path}: images are {kind[0]} {kind[1]}, those of {paths[0]} {first[0]} {first[1]}")
            )
    if first is None:
        raise ScanError("no EDF files")
    return EdfFrames(tuple(places), first[0][0], first[0][1], counts_dtype(first[1]))


def image_frames(paths: Sequence[Path]) -> Frames:
    """Open images as one stack: TIFF or EDF, by what the first file holds.

    Raises
    ------
    ScanError
        Neither, or what `tiff_frames` and `edf_frames` refuse.
    """
    if not paths:
        raise ScanError("no images")
    first = paths[0]
    if not first.is_file():
        what = "not a file that can be read again and again" if first.exists() else "no such file"
        raise ScanError(one_line(f"{first}: {what}"))
    if is_edf(first):
        return edf_frames(paths)
    if not is_tiff(first):
        raise ScanError(one_line(f"{first}: {foreign(first)}"))
    return tiff_frames(paths)


_FOREIGN = {
    ".edf": "EDF",
    ".raw": "raw",
    ".xtm": "XTM",
    ".vol": "volume",
    ".fits": "FITS",
    ".fit": "FITS",
    ".his": "HIS",
    ".img": "IMG",
    ".spe": "SPE",
    ".txrm": "Zeiss TXRM",
    ".xrm": "Zeiss XRM",
    ".cbf": "CBF",
    ".mar": "MAR",
    ".hst": "HST",
    ".jp2": "JPEG 2000",
    ".j2k": "JPEG 2000",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".nc": "netCDF",
    ".hdf4": "HDF4",
    ".hdr": "header",
    ".npy": "NumPy",
    ".dcm": "DICOM",
    ".seq": "sequence",
}


def foreign(path: Path) -> str:
    """Return, for a message, what a file of no known format is and what would read it."""
    kind = _FOREIGN.get(path.suffix.lower())
    if kind is None:
        return "neither TIFF nor EDF nor HDF5"
    return f"{kind} images are not read here: convert them to TIFF (fabio and imagecodecs of the extra formats can)"


def moment_of(path: Path) -> tuple[datetime, str]:
    """Return when an image was taken and who says so: its DateTime tag, else the time of the file (UTC)."""
    with reading(one_line(str(path))):
        if is_tiff(path):
            import tifffile

            with tifffile.TiffFile(path) as tiff:
                tag = getattr(tiff.pages[0], "tags", {}).get("DateTime")
                written = str(tag.value) if tag is not None else ""
            for pattern in ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"):
                try:
                    return datetime.strptime(written[:19], pattern), "their DateTime tags"
                except ValueError:
                    continue
        return datetime.fromtimestamp(path.stat().st_mtime, UTC), "the times of the files, which a copy may change"
