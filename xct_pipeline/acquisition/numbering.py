"""Numbers in the names of files that were recorded one by one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.selection import runs_in_words
from xct_pipeline.scan import ScanError


def numbered(paths: Sequence[Path]) -> npt.NDArray[np.int64] | None:
    """Return the number of each file, where all names differ by one increasing number.

    Raises
    ------
    ScanError
        A few files are named unlike all others.
    """
    parts = [re.split(r"(\d+)", path.stem) for path in paths]
    shapes = [("#".join(part[::2])).lower() for part in parts]
    usual, count = Counter(shapes).most_common(1)[0]
    strays = [path.name for path, shape in zip(paths, shapes, strict=True) if shape != usual]
    if strays and len(paths) >= 20 and len(strays) <= max(3, 0.05 * count):
        named = ", ".join(strays[:3])
        raise ScanError(
            f"{paths[0].parent}: {named} {'is' if len(strays) == 1 else 'are'} named unlike the other {count} files "
            "that the pattern matches: make the pattern narrower, or list the files"
        )
    if strays or len(paths) < 3:
        return None
    table = np.array([[int(number) for number in part[1::2]] for part in parts], dtype=object)
    varying = [k for k in range(table.shape[1]) if len(set(table[:, k])) > 1] if table.ndim == 2 else []
    if len(varying) != 1:
        return None
    numbers = np.array([int(value) for value in table[:, varying[0]]], np.int64)
    return numbers if np.all(np.diff(numbers) > 0) else None


def places_of(paths: Sequence[Path], count: int) -> npt.NDArray[np.int64] | None:
    """Return the place of each file among `count` evenly spread angles, where numbers are missing; None if none is.

    Raises
    ------
    ScanError
        Numbers are missing, and `count` is neither that of the files nor that of the numbers; or it is that of the
        files, so that the angles after the hole would be wrong.
    """
    numbers = numbered(paths)
    if numbers is None:
        return None
    steps = np.diff(numbers)
    step = int(np.median(steps))
    if step < 1 or np.all(steps == step) or np.any(steps % step):
        return None
    places = (numbers - numbers[0]) // step
    whole = int(places[-1]) + 1
    missing = np.setdiff1d(np.arange(whole), places) * step + numbers[0]
    words = f"{len(missing)} of {whole} numbers are missing ({runs_in_words(missing)})"
    if step > 1:
        words = f"{len(missing)} of {whole} files are missing"
    if count == whole:
        return np.asarray(places)
    raise ScanError(
        f"{paths[0].parent}: {words} in the names of the projections, {paths[0].name} to {paths[-1].name}: angles "
        f"spread evenly over {count} files would be wrong behind the hole; set count = {whole}, so that each gets the "
        "angle of its number, or give a file of angles"
    )
