"""Digests of the files of a store that are not images: tables, their units, the report and its crate."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.inputs import read_bytes
from xct_pipeline.store import seal
from xct_pipeline.store.files import HEALED, StoreError, write_changed
from xct_pipeline.store.layout import STATE
from xct_pipeline.store.marker import digest_of

RECORDS = f"{STATE}/files.json"
MOST_ESTIMATE = 2**34  # bytes: of all rows of a wide detector


def records(root: Path) -> dict[str, str]:
    """Return the digest of each file that was recorded, by its place in the store; empty where they are damaged."""
    try:
        found = seal.loads(read_bytes(root / RECORDS), RECORDS)
        return {str(place): str(digest) for place, digest in found.items()}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def record(root: Path, *files: Path) -> None:
    """Keep the digests of files that were just written."""
    if not (root / STATE).is_dir():
        return
    known = records(root)
    known |= {file.relative_to(root).as_posix(): seal.digest(file.read_bytes()) for file in files}
    write_records(root, known)


def write_records(root: Path, known: dict[str, str]) -> None:
    """Keep these digests and no others."""
    (root / STATE).mkdir(parents=True, exist_ok=True)
    write_changed(root / RECORDS, seal.dumps(dict(sorted(known.items())), RECORDS))


def problem(root: Path, file: Path) -> str | None:
    """Say that a file is not what was written, None where it is or where that is not known (earlier versions)."""
    expected = records(root).get(file.relative_to(root).as_posix())
    if expected is None:
        return None
    try:
        found = digest_of(file)
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    return None if found == expected else "is not what was written: its checksum is another"


def is_as_recorded(root: Path, file: Path) -> bool:
    """Tell whether a file was recorded and is what was written."""
    return file.relative_to(root).as_posix() in records(root) and problem(root, file) is None


def check(root: Path, file: Path) -> None:
    """Raise StoreError where a file is not what was written."""
    found = problem(root, file)
    if found:
        raise StoreError(f"{file} {found}; {HEALED}")


def estimate_bytes(data: bytes) -> bytes:
    """Return a cached estimate (a zip file) with the digest of its bytes behind it, where readers of zip ignore it."""
    return data + seal.digest(data).encode()


def read_estimate(file: Path) -> bytes:
    """Return the bytes of a cached estimate without their digest.

    Raises
    ------
    OSError, ValueError
        There is none, or it is damaged.
    """
    data = read_bytes(file, MOST_ESTIMATE)
    if seal.digest(data[:-32]).encode() != data[-32:]:
        raise ValueError("damaged")
    return data[:-32]


def packed(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return arrays as the file that `numpy.load` takes, compressed at the least effort: most maps are mostly zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as whole:
        for name, values in arrays.items():
            with whole.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(values), allow_pickle=False)
    return buffer.getvalue()
