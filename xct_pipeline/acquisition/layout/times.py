"""When frames were taken: what time stamps mean, and what stands beside a dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.facts import moment
from xct_pipeline.acquisition.hdf5 import attribute, one_line, open_hdf5, reading
from xct_pipeline.acquisition.layout.source import Values, datasets
from xct_pipeline.scan import ScanError

UNIX, EPICS = datetime(1970, 1, 1, tzinfo=UTC), datetime(1990, 1, 1, tzinfo=UTC)
_STAMP = re.compile(r"time_?stamps?$|epicstssec$", re.IGNORECASE)
_EPICS = re.compile(r"ndarray|epics", re.IGNORECASE)
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3}
_SECONDS |= {"us": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6, "ns": 1e-9, "nanosecond": 1e-9, "nanoseconds": 1e-9}


class Stamps(NamedTuple):
    """Seconds of each frame since `zero`; None where they count from a moment that is not known."""

    seconds: npt.NDArray[np.float64]
    zero: datetime | None
    said: str

    def at(self, k: int) -> datetime | None:
        """Return the moment of a frame."""
        return None if self.zero is None else self.zero + timedelta(seconds=float(self.seconds[k]))


class Clock(NamedTuple):
    """Time stamps of the projections (seconds, with their zero), and all that were read, for other clocks."""

    stamps: Stamps | None
    raw: npt.NDArray[np.float64] | None
    kinds: Mapping[str, npt.NDArray[np.int64]]


def stamps_of(values: Values) -> Stamps:
    """Say what time stamps mean.

    Texts are dates. Numbers are seconds, or what their unit says, or what their size says where they count from 1970
    (ms, us, ns); areaDetector's count from 1990. Numbers that are no date count from a moment that is not known.

    Raises
    ------
    ScanError
        Texts that are no dates, or values that are not finite.
    """
    if values.is_text:
        moments = [moment(text) for text in values.texts()]
        if any(m is None for m in moments):
            raise ScanError(f"{values.where}: {values.texts()[0][:40]!r} is no date and time")
        zero = moments[0]
        assert zero is not None
        return Stamps(np.array([_seconds(m, zero) for m in moments if m]), zero, "dates")
    numbers = values.floats()
    if not len(numbers) or not np.all(np.isfinite(numbers)):
        raise ScanError(f"{values.where}: not all of its times are numbers")
    unit = values.unit.strip().lower()
    since = re.match(r"(\w+) since (.+)", unit)
    if since and since[1] in _SECONDS:
        zero = moment(since[2].replace("z", "+00:00").upper())
        return Stamps(numbers * _SECONDS[since[1]], zero, values.unit)
    middle = float(np.median(numbers))
    factor = _SECONDS.get(unit) or next(
        (f for limit, f in ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3)) if middle > limit), 1.0
    )
    seconds = numbers * factor
    if middle * factor < 1e8:
        return Stamps(seconds, None, "seconds from a moment that is not known")
    now = datetime.now(UTC) + timedelta(days=1)
    if _EPICS.search(values.name) and _from(EPICS, middle * factor) < now:
        return Stamps(seconds, EPICS, "seconds since 1990, as EPICS counts")
    if _from(UNIX, middle * factor) < now:
        return Stamps(seconds, UNIX, "seconds since 1970")
    return Stamps(seconds, None, "seconds from a moment that is not known")


def _from(zero: datetime, seconds: float) -> datetime:
    try:
        return zero + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _seconds(later: datetime, earlier: datetime) -> float:
    if (later.tzinfo is None) != (earlier.tzinfo is None):
        later, earlier = later.replace(tzinfo=None), earlier.replace(tzinfo=None)
    return (later - earlier).total_seconds()


def beside(holder: tuple[Path, str] | None, n: int) -> Values | None:
    """Return the time stamps that a detector wrote beside its `n` frames; None where there are none."""
    if holder is None:
        return None
    path, dataset = holder
    with open_hdf5(path) as file, reading(one_line(str(path))):
        found: list[tuple[int, str, h5py.Dataset]] = []
        for address, node in datasets(file):
            leaf = address.rsplit("/", 1)[-1]
            if _STAMP.search(leaf) and node.shape in ((n,), (n, 1)) and node.dtype.kind in "uif":
                shared = len(_common(address, dataset))
                found.append((-shared, address, node))
        if not found:
            return None
        _, address, node = min(found, key=lambda item: (item[0], not item[1].endswith("NDArrayTimeStamp"), item[1]))
        array = np.asarray(node[()], np.float64).ravel()
        return Values(array, attribute(node, "units"), one_line(f"{path}: {address}"), address, frozenset({path}))


def _common(first: str, second: str) -> list[str]:
    shared = []
    for a, b in zip(first.strip("/").split("/"), second.strip("/").split("/"), strict=False):
        if a != b:
            break
        shared.append(a)
    return shared


def single(values: Values) -> datetime:
    """Return the date that a dataset of one value holds.

    Raises
    ------
    ScanError
        It is no date, nor seconds since 1970.
    """
    stamps = stamps_of(values)
    found = stamps.at(0)
    if found is None:
        raise ScanError(f"{values.where}: {values.array.ravel()[0]} is no date, nor seconds since 1970")
    return found
