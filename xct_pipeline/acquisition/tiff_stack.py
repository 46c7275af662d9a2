"""TIFF: one image per file, or many images in a file."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from natsort import natsorted

from xct_pipeline.acquisition.hdf5 import MOST_PIXELS, counts_dtype, one_line, piece, reading
from xct_pipeline.inputs import matching, read_bytes
from xct_pipeline.scan import ScanError

LARGE = 2**28  # bytes of an image that is looked at twice
EXPOSURE_TAG = 33434  # of EXIF, seconds
AREA_DETECTOR_TAGS = 65009  # above it areaDetector writes its attributes, each as name:value
MOST_PACKED = 1100  # bytes that one byte of a compressed image can hold


@dataclass(frozen=True, eq=False)
class TiffFrames:
    """Frames in TIFF files.

    The layout of every file is read once, when the scan is opened. Rows of an image that is stored plainly
    are then read straight from their place in the file, so a slab of rows costs no more than its bytes.

    Attributes
    ----------
    paths : tuple of Path
        The files.
    file, page : numpy.ndarray of int64
        For each frame, its file and the number of the image in it.
    offset : numpy.ndarray of int64
        For each frame, the byte where its first row begins; -1 where it has to be decoded.
    height, width : int
        Rows and columns.
    stored : numpy dtype
        With the byte order of the files.
    exposure_s : numpy.ndarray of float64 or None
        Of each frame, where the tags of all files tell it.
    """

    paths: tuple[Path, ...]
    file: npt.NDArray[np.int64]
    page: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    height: int
    width: int
    stored: np.dtype[Any]
    exposure_s: npt.NDArray[np.float64] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""
        return len(self.file), self.height, self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored, in the machine's byte order; half floats as float32."""
        return counts_dtype(self.stored)

    @property
    def chunk_rows(self) -> int:
        """Any row can be read alone, unless a frame has to be decoded."""
        return 1 if np.all(self.offset >= 0) else self.height

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Read a box."""
        wanted = np.arange(len(self.file))[frames]
        top, bottom, inner_rows = piece(rows, self.height)
        left, right, inner_columns = piece(columns, self.width)
        box = np.empty((len(wanted), bottom - top, right - left), self.dtype)
        for i, frame in enumerate(wanted if box.size else ()):
            with reading(str(self.paths[self.file[frame]])):
                box[i] = self._rows(int(frame), top, bottom)[:, left:right]
        return np.ascontiguousarray(box[:, inner_rows, inner_columns])

    def _rows(self, frame: int, top: int, bottom: int) -> npt.NDArray[Any]:
        path, offset = self.paths[self.file[frame]], int(self.offset[frame])
        if offset < 0:
            return _decode(path, int(self.page[frame]), (self.height, self.width))[top:bottom]
        band = np.empty((bottom - top, self.width), self.stored)
        with path.open("rb", buffering=0) as stream:
            stream.seek(offset + top * self.width * self.stored.itemsize)
            if stream.readinto(band.data.cast("B")) != band.nbytes:
                raise ScanError(f"{path}: the file is truncated: copy it again")
        return band


def _decode(path: Path, page: int, shape: tuple[int, int]) -> npt.NDArray[Any]:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        image = tiff.pages[page].asarray(maxworkers=1)
    if image.shape != shape:
        raise ScanError(f"{path}: image {page} is now {image.shape}, it was {shape}")
    return np.asarray(image)


@dataclass(frozen=True)
class _Layout:
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    offsets: list[int]
    exposure_s: float = float("nan")


def _layout(path: Path) -> _Layout:
    """Where the images of one file lie."""
    import tifffile

    if not path.is_file():
        raise ScanError(f"{path}: {'not a file that can be read again and again' if path.exists() else 'no such file'}")
    with reading(str(path)), tifffile.TiffFile(path) as tiff:
        pages: list[Any] = list(tiff.pages)
        if not pages or not _chain_ends(tiff):
            raise ScanError(f"{path}: images after the first {len(pages)} cannot be found: copy the file again")
        first = pages[0]
        if first.ndim != 2 or first.samplesperpixel != 1 or first.dtype is None or first.dtype.kind not in "uif":
            raise ScanError(f"{path}: images are {first.dtype} {first.shape}, expected grey values (row, column)")
        if 0 in first.shape or any((p.shape, p.dtype) != (first.shape, first.dtype) for p in pages):
            raise ScanError(f"{path}: holds images of several sizes, expected frames of one")
        dtype = np.dtype(tiff.byteorder + first.dtype.char)
        nbytes = first.shape[0] * first.shape[1] * dtype.itemsize
        # some writers describe one image only and let all others follow it in a row
        images = tiff.series[0].size // first.size if len(pages) == 1 and tiff.is_imagej else 1
        if images > 1 and not first.is_contiguous:
            raise ScanError(f"{path}: {images} compressed images described as one cannot be read")
        offsets = [int(p.dataoffsets[0]) if p.is_contiguous else -1 for p in pages]
        if images > 1:
            offsets = [offsets[0] + i * nbytes for i in range(images)]
        ends = [o + b for p in pages for o, b in zip(p.dataoffsets, p.databytecounts, strict=True)]
        ends += [offset + nbytes for offset in offsets if offset >= 0]
        if max(ends) > path.stat().st_size:
            raise ScanError(f"{path}: the file is truncated: copy it again")
        packed = min(sum(p.databytecounts) for p in pages)
        if max(first.shape) > MOST_PIXELS or (nbytes > LARGE and nbytes > MOST_PACKED * packed):
            raise ScanError(
                f"{path}: says its images are {first.shape}, {nbytes} bytes, but holds {packed}: the file is damaged"
            )
        return _Layout((int(first.shape[0]), int(first.shape[1])), dtype, offsets, _exposure(first))


def _exposure(page: Any) -> float:
    """Return the exposure that an image's tags tell: EXIF's ExposureTime, or areaDetector's AcquireTime; else nan."""
    for tag in page.tags.values():
        try:
            if tag.code == EXPOSURE_TAG:
                above, below = tag.value if isinstance(tag.value, tuple) else (tag.value, 1)
                seconds = float(above) / float(below)
            elif tag.code > AREA_DETECTOR_TAGS and isinstance(tag.value, str):
                name, _, written = tag.value.partition(":")
                if name.strip().lower() not in ("acquiretime", "exposuretime"):
                    continue
                seconds = float(written)
            else:
                continue
        except (TypeError, ValueError, ZeroDivisionError):
            continue
        if 0 < seconds < float("inf"):
            return seconds
    return float("nan")


def _chain_ends(tiff: Any) -> bool:
    """Tell whether the last image says that none follows; where it names a place that is none, images are lost."""
    where, size = tiff.pages.next_page_offset, tiff.tiff.offsetsize
    tiff.filehandle.seek(where)
    offset = tiff.filehandle.read(size)
    return len(offset) == size and not any(offset)


def tiff_frames(paths: Sequence[Path]) -> TiffFrames:
    """Open TIFF files as one stack, in the order given.

    Raises
    ------
    ScanError
        No file, missing or damaged files, images of different shape or type.
    """
    if not paths:
        raise ScanError("no TIFF files")
    file: list[int] = []
    page: list[int] = []
    offset: list[int] = []
    exposure: list[float] = []
    first: _Layout | None = None
    for i, path in enumerate(paths):
        layout = _layout(path)
        first = first or layout
        if layout.shape != first.shape or layout.dtype != first.dtype:
            raise ScanError(
                f"{path}: images are {layout.shape} {layout.dtype}, those of {paths[0]} are {first.shape} {first.dtype}"
            )
        file += [i] * len(layout.offsets)
        page += range(len(layout.offsets))
        offset += layout.offsets
        exposure += [layout.exposure_s] * len(layout.offsets)
    assert first is not None
    told = np.array(exposure)
    return TiffFrames(
        tuple(paths),
        np.array(file),
        np.array(page),
        np.array(offset),
        *first.shape,
        stored=first.dtype,
        exposure_s=told if np.all(np.isfinite(told)) else None,
    )


def is_tiff(path: Path) -> bool:
    """Whether the file begins as a TIFF or BigTIFF does."""
    with reading(str(path)), path.open("rb") as stream:
        return stream.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def matching_files(patterns: str | Path | Sequence[str | Path], folder: Path) -> list[Path]:
    """Files that globs or names stand for.

    Parameters
    ----------
    patterns : str, Path or sequence of them
        Globs are sorted naturally; a list keeps its order.
    folder : Path
        What relative names start from.

    Returns
    -------
    list of Path
        At least one.

    Raises
    ------
    ScanError
        A glob that matches nothing, a file that does not exist.
    """
    found: list[Path] = []
    for pattern in [patterns] if isinstance(patterns, str | Path) else patterns:
        path = folder / pattern
        if path.is_file():
            found.append(path)
            continue
        matches: list[Path] = []
        if any(c in str(pattern) for c in "*?["):
            with reading(str(path)):
                below = os.path.join(glob.escape(str(folder)), pattern)  # what it lies in is no pattern
                matches = [p for p in map(Path, matching(below)) if p.is_file()]
        if not matches:
            there = path.exists() and not path.is_dir()
            what = "not a file that can be read again and again" if there else "no such file"
            raise ScanError(one_line(f"{path}: {what}"))
        found += natsorted(matches, key=str)
    if not found:
        raise ScanError("an empty list of files")
    return found


def read_angles(
    angles: Mapping[str, Any] | Sequence[float] | npt.NDArray[np.floating[Any]], folder: Path
) -> npt.NDArray[np.float64]:
    """Angles as a configuration states them.

    Parameters
    ----------
    angles : mapping or sequence of float
        ``{"file": name, "lines": [first, end]}``: one angle in degrees per line of a text file, lines counted
        from 0 with the end left out; without ``lines`` every line that is not blank or a ``#`` comment.
        ``{"start": a, "stop": b, "count": n}``: n angles in degrees from a to b, both included.
        Or the angles themselves, degrees.
    folder : Path
        What a relative name starts from.

    Returns
    -------
    numpy.ndarray of float64
        Radians.

    Raises
    ------
    ScanError
        Missing file, lines outside it, anything but one number in a line.
    """
    if not isinstance(angles, Mapping):
        with reading("angles"):
            return np.deg2rad(np.asarray(angles, dtype=np.float64).ravel())
    keys = set(angles) - {k for k, v in angles.items() if v is None}
    if keys == {"start", "stop", "count"}:
        with reading("angles"):
            count = int(angles["count"])
            if not 0 < count < 10_000_000:
                raise ScanError(f"angles: count = {count}: give the number of projections")
            return np.deg2rad(np.linspace(float(angles["start"]), float(angles["stop"]), count))
    if "file" not in keys or keys - {"file", "lines"}:
        raise ScanError(
            f"angles: {sorted(keys)}: expected {{ file, lines = [first, end] }} or {{ start, stop, count }}"
        )
    path = folder / str(angles["file"])
    try:
        rows = read_bytes(path).decode("utf-8-sig", "replace").splitlines()
    except OSError as error:
        raise ScanError(one_line(f"{path}: cannot be read ({error.strerror or error})")) from error
    except ValueError as error:
        raise ScanError(one_line(str(error))) from None
    first, end = 0, len(rows)
    if "lines" in keys:
        with reading(f"{path}: lines = {angles['lines']}"):
            first, end = (int(n) for n in angles["lines"])
        if not 0 <= first < end <= len(rows):
            raise ScanError(f"{path}: lines = [{first}, {end}] (end left out) of a file of {len(rows)} lines")
    values = []
    for number, row in enumerate(rows[first:end], start=first):
        content = row.split("#")[0].strip().rstrip(",;")
        if not content and "lines" not in keys:
            continue
        try:
            values.append(float(content))
        except ValueError:
            raise ScanError(
                one_line(f"{path}: line {number} is {content[:40]!r}, expected one angle in degrees")
            ) from None
    return np.deg2rad(np.array(values, dtype=np.float64))
