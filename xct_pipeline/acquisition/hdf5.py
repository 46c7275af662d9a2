"""HDF5: following links, telling missing data from zeros, and frames that are read in pieces."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers the compression filters)
import numpy as np
import numpy.typing as npt

from xct_pipeline.scan import ScanError

MOST_FRAMES = 10_000_000
MOST_PIXELS = 1_000_000  # along a side of a frame
MOST_CHUNK = 2**30  # bytes that are unpacked together
MOST_GROUPS, DEEPEST = 10_000, 32  # that are looked through for links, and in each other: the library slows down there
MOST_LINKS = 100  # behind one link; the library follows 16
SUM_BYTES = 4  # of the checksum behind a piece
SPARE = 65_536  # bytes that a packed piece may have beside twice its values
UNSAFE = {307: "bzip2", 32017: "SZ", 32024: "SZ3"}  # a damaged byte ends the process, or is unpacked for ever


def one_line(text: str) -> str:
    """Text that any terminal and log can show: no line breaks, no lone surrogates."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn whatever a damaged file makes a library raise into a ScanError that begins with `where`."""
    try:
        yield
    except ScanError:
        raise
    except RecursionError as error:
        raise ScanError(one_line(f"{where}: links that lead in a circle")) from error
    except Exception as error:
        reason = one_line(str(error)) or type(error).__name__
        raise ScanError(one_line(f"{where}: cannot be read ({reason[:300]}){_remedy(reason)}")) from error


def _remedy(reason: str) -> str:
    """Return what to do about a filter or a package that is not here."""
    if "imagecodecs" in reason:
        return ": install imagecodecs, pip install 'xct-pipeline[formats]'"
    if ("filter" in reason and "registered" in reason) or "lib/plugin" in reason:
        return (
            ": hdf5plugin has no such filter; set HDF5_PLUGIN_PATH to one that has, or rewrite it, h5repack -f GZIP=4"
        )
    return ""


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading.

    Raises
    ------
    ScanError
        Missing, a folder, empty, another format, truncated.
    """
    if not path.exists():
        raise ScanError(one_line(f"{path}: no such file"))
    if not path.is_file():
        raise ScanError(one_line(f"{path}: not a file that can be read again and again"))
    try:
        file = h5py.File(path, "r", locking="best-effort")
    except Exception as error:
        text = one_line(str(error))
        if "truncated file" in text or path.stat().st_size == 0:
            text = f"the file is truncated, {path.stat().st_size} bytes are here: copy it again"
        elif "signature not found" in text:
            text = "not an HDF5 file"
        raise ScanError(one_line(f"{path}: {text}")) from error
    with file:
        yield file


def split_entry(name: str | Path, folder: Path) -> tuple[Path, str | None]:
    """File and entry of ``file.nxs::/entry0001``; a file that is really called so is taken whole."""
    location, mark, entry = str(name).partition("::")
    if not mark or (folder / str(name)).is_file():
        return folder / str(name), None
    return folder / location, entry


def has(group: Any, name: str) -> bool:
    """Whether there is a link of that name, even one that leads nowhere."""
    return isinstance(group, h5py.Group) and group.get(name, getlink=True) is not None


def resolve(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    """Follow a path through hard, soft and external links.

    Parameters
    ----------
    group : h5py.Group
        Where to start.
    path : str
        Names separated by slashes.

    Returns
    -------
    h5py.Group, h5py.Dataset or None
        None where a part of the path does not exist.

    Raises
    ------
    ScanError
        A part of the path is a link whose target is missing. The message names link and target.
    """
    node = group
    for part in path.strip("/").split("/"):
        if not has(node, part):
            return None
        require_followable(node, part)
        try:
            node = node[part]
        except Exception as error:
            home = node.file.filename
            raise ScanError(one_line(f"{home}: {_join(node, part)} {_dangling(node, part)}")) from error
    if isinstance(node, h5py.Dataset):
        require_unpackable(node)
    return node


def require_unpackable(dataset: h5py.Dataset) -> None:
    """Refuse a dataset that the library cannot unpack without harm where it is damaged, which no exception tells.

    Raises
    ------
    ScanError
        It is packed by a filter that crashes, or one of its pieces is shorter than its own checksum or far longer
        than what it unpacks to.
    """
    where = f"{dataset.file.filename}: {dataset.name}"
    made = dataset.id.get_create_plist()
    codes = [made.get_filter(k)[0] for k in range(made.get_nfilters())]
    unsafe = next((UNSAFE[code] for code in codes if code in UNSAFE), None)
    if unsafe:
        raise ScanError(
            one_line(
                f"{where}: is packed with {unsafe}, which crashes or never ends where a byte is damaged: "
                f"rewrite it, h5repack -f GZIP=4"
            )
        )
    if not codes or dataset.chunks is None:
        return
    least = SUM_BYTES if h5py.h5z.FILTER_FLETCHER32 in codes else 0
    most = 2 * math.prod(dataset.chunks) * dataset.dtype.itemsize + SPARE
    wrong: list[int] = []
    with reading(where):
        dataset.id.chunk_iter(lambda piece: None if least <= piece.size <= most else wrong.append(piece.size))
    if wrong:
        what = "shorter than its checksum" if wrong[0] < least else "more than it can hold"
        raise ScanError(one_line(f"{where}: a piece of {wrong[0]} bytes is {what}: the file is damaged"))


def child(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """Return what lies in a group under a name; None where that is a link that leads nowhere."""
    try:
        return resolve(group, name.replace("/", "")) if "/" not in name else None
    except ScanError:
        return None


def require_followable(group: h5py.Group, name: str, seen: set[tuple[str, int, str]] | None = None) -> None:
    """Refuse a link that leads, over however many others, to a pipe or a device: the library would wait for ever.

    Raises
    ------
    ScanError
        The message names link and target.
    """
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.SoftLink | h5py.ExternalLink):
        return
    seen = set() if seen is None else seen
    here = (*identity(group), name)
    if here in seen or len(seen) > MOST_LINKS:  # a circle, which the library ends itself
        return
    seen.add(here)
    if isinstance(link, h5py.SoftLink):
        _require_path(group.file if link.path.startswith("/") else group, link.path, seen)
    else:
        for target in _external_targets(group, link.filename):
            if not target.exists():
                continue
            if not target.is_file():
                what = f"links to {link.path} in {target}, which is not a file that can be read again and again"
                raise ScanError(one_line(f"{group.file.filename}: {_join(group, name)} {what}"))
            with contextlib.suppress(OSError), h5py.File(target, "r", locking="best-effort") as file:
                _require_path(file, link.path, seen)


def _require_path(start: h5py.Group, path: str, seen: set[tuple[str, int, str]]) -> None:
    """Refuse a path that passes through such a link."""
    node: Any = start
    for part in path.strip("/").split("/"):
        if part in ("", "."):
            continue
        if not has(node, part):
            return
        require_followable(node, part, seen)
        try:
            node = node[part]
        except Exception:  # leads nowhere or in a circle, as will be found when it is opened
            return


def _external_targets(group: h5py.Group, name: str) -> list[Path]:
    """Return the places where the library looks for the file of an external link."""
    path, home = Path(name), Path(group.file.filename)
    folders = [Path(f) for f in os.environ.get("HDF5_EXT_PREFIX", "").split(":") if f]
    folders += [home.parent, home.resolve().parent, Path()]
    named = [path] if path.is_absolute() else []
    return [*named, *(folder / (path.name if path.is_absolute() else path) for folder in folders)]


def _join(group: h5py.Group, name: str) -> str:
    return f"{(group.name or '').rstrip('/')}/{name}"


def _dangling(group: h5py.Group, name: str) -> str:
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        target = Path(group.file.filename).parent / link.filename
        what = f"links to {link.path} in {link.filename}"
        if target.is_file():
            return f"{what}, which is not there or cannot be read"
        return f"{what}, a file that is missing: copy it to {target}"
    if isinstance(link, h5py.SoftLink):
        return f"links to {link.path}, which does not exist"
    return "cannot be opened; the file is damaged: copy it again"


def identity(dataset: Any) -> tuple[str, int]:
    """File and address of a dataset, which are the same through whatever links it is reached."""
    return str(Path(dataset.file.filename).resolve()), int(h5py.h5o.get_info(dataset.id).addr)


def missing_links(file: h5py.File) -> dict[str, list[str]]:
    """Links that lead nowhere: target -> the links' own paths, in file order."""
    missing: dict[str, list[str]] = {}
    seen: set[tuple[str, int]] = set()

    def visit(group: h5py.Group, depth: int) -> None:
        seen.add(identity(group))
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.SoftLink | h5py.ExternalLink):
                try:
                    require_followable(group, name)
                    group[name]
                except Exception:
                    target = link.filename if isinstance(link, h5py.ExternalLink) else link.path
                    missing.setdefault(str(target), []).append(_join(group, name))
                continue
            inner = child(group, name) if depth < DEEPEST and len(seen) < MOST_GROUPS else None
            if isinstance(inner, h5py.Group) and identity(inner) not in seen:
                visit(inner, depth + 1)

    visit(file, 0)
    return missing


def text_of(value: Any) -> str:
    """A string attribute or dataset, however it was written; empty where it is no text or number."""
    if isinstance(value, h5py.Dataset):
        value = value[()] if value.size == 1 else ""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size == 1 else ""
    if isinstance(value, str) and any("\udc80" <= letter <= "\udcff" for letter in value):
        value = value.encode("utf-8", "surrogateescape")  # bytes that are no UTF-8, as h5py hands them out
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:  # a micro or degree sign as LabVIEW writes it
            value = value.decode("latin-1")
    return one_line(str(value)) if isinstance(value, str | int | float | np.number) else ""


def attribute(node: Any, name: str) -> str:
    """A string attribute; empty where it is missing or unreadable."""
    try:
        return text_of(node.attrs.get(name, ""))
    except Exception:
        return ""


def numbers(dataset: Any, where: str) -> npt.NDArray[np.float64]:
    """Read a small dataset of real numbers as a flat array.

    Raises
    ------
    ScanError
        Not a dataset, not numbers, or some of it is missing or unreadable.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise ScanError(f"{where}: a group where numbers were expected")
    if dataset.shape is None:
        raise ScanError(f"{where}: is empty")
    if dataset.dtype.kind not in "uifb":
        raise ScanError(f"{where}: holds {dataset.dtype}, not numbers")
    if dataset.size > MOST_FRAMES:
        raise ScanError(f"{where}: has {dataset.size} values, far more than one per frame")
    with reading(where):
        return np.asarray(dataset[()], dtype=np.float64).ravel()


def piece(selection: slice, size: int) -> tuple[int, int, slice]:
    """The box around a slice, and the slice inside that box."""
    wanted = range(size)[selection]
    if not wanted:
        return 0, 0, slice(None)
    low, high = min(wanted), max(wanted) + 1
    return low, high, slice(None, None, wanted.step)


@dataclass(frozen=True, eq=False)
class Hdf5Frames:
    """Chosen frames of one HDF5 dataset.

    The file is opened in each call of `read`: that costs a millisecond and leaves no handle that another
    process, a fork or a writer could trip over. Bytes come back in the machine's order.

    Attributes
    ----------
    path : Path
        The file; links are followed from here.
    dataset : str
        Path of a dataset (frame, row, column) in it.
    index : numpy.ndarray of int64
        Frames of the dataset that belong to this stack.
    height, width : int
        Rows and columns.
    dtype : numpy dtype
        As stored, in the machine's byte order.
    chunk_rows : int
        Detector rows that are read together.
    sources : tuple of Path
        Other files that hold the bytes: HDF5 would read zeros where one of them has gone since the scan was opened.
    """

    path: Path
    dataset: str
    index: npt.NDArray[np.int64]
    height: int
    width: int
    dtype: np.dtype[Any]
    chunk_rows: int = 1
    sources: tuple[Path, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""
        return len(self.index), self.height, self.width

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Read a box; runs of neighbouring frames are read in one go."""
        wanted = self.index[frames]
        top, bottom, inner_rows = piece(rows, self.height)
        left, right, inner_columns = piece(columns, self.width)
        box = np.empty((len(wanted), bottom - top, right - left), self.dtype)
        with open_hdf5(self.path) as file, reading(f"{self.path}: {self.dataset}"):
            if box.size:
                source = file[self.dataset]
                ends = [*(np.flatnonzero(np.diff(wanted) != 1) + 1), len(wanted)]
                for begin, end in zip([0, *ends[:-1]], ends, strict=True):
                    run = np.s_[wanted[begin] : wanted[end - 1] + 1, top:bottom, left:right]
                    source.read_direct(box, run, np.s_[begin:end])
        gone = next((source for source in self.sources if not source.is_file()), None)
        if gone is not None:
            raise ScanError(one_line(f"{self.path}: {self.dataset}: needs {gone}, which has gone since it was opened"))
        return np.ascontiguousarray(box[:, inner_rows, inner_columns])


def stack(dataset: Any, where: str) -> tuple[int, int, int]:
    """Check that a dataset can be a stack of frames and return its shape.

    Raises
    ------
    ScanError
        Not three-dimensional, empty, or not real numbers.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise ScanError(f"{where}: a group, not the frames")
    shape = dataset.shape
    if shape is None or len(shape) != 3:
        raise ScanError(f"{where}: has shape {shape}, expected (frame, row, column)")
    if 0 in shape:
        raise ScanError(f"{where}: is empty, shape {shape}")
    if dataset.dtype.kind not in "uif":
        raise ScanError(f"{where}: holds {dataset.dtype}, expected counts")
    if shape[0] > MOST_FRAMES or max(shape[1:]) > MOST_PIXELS:
        raise ScanError(f"{where}: has shape {shape}, more than any detector has: the file is damaged")
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if chunk > MOST_CHUNK:  # one pixel is read by unpacking all of it
        raise ScanError(
            f"{where}: is packed in pieces of {chunk / 1e9:.1f} GB, of which one is read for every pixel: "
            f"rewrite it in pieces of a frame, h5repack -l {dataset.name}:CHUNK=1x{shape[1]}x{shape[2]}"
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


def require_frame(dataset: h5py.Dataset, where: str) -> None:
    """Refuse one frame that is larger than any detector's, before memory is taken for it."""
    if dataset.size * dataset.dtype.itemsize > MOST_CHUNK:
        raise ScanError(f"{where}: has shape {dataset.shape}, more than any detector has: the file is damaged")


def counts_dtype(stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which frames are read: as stored, in the machine's order; half and long floats widen."""
    if stored.kind == "f" and stored.itemsize not in (4, 8):
        return np.dtype(np.float32 if stored.itemsize < 4 else np.float64)
    return stored.newbyteorder("=")
