"""What was found in a folder: scans, references, angles and logs, each with what tells it from others."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from xct_pipeline.acquisition.formats import Kind

Shape = tuple[int, int]
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_GENERIC = ("proj*", "panda*", "data*", "image*", "img*", "frame*", "metadata", "nexus", "raw*")


@dataclass
class Found:
    """One scan that was found.

    Attributes
    ----------
    home : Path
        Its file; of images the first.
    name : str
        That it will have.
    keys : dict
        Of ``[[acquisition.hdf5]]``, or of ``[[acquisition.tiff]]`` where `images` is true; names start at its file.
    recipe : str
        That told it.
    native : bool
        Its file says all this by its own format.
    """

    home: Path
    name: str
    keys: dict[str, Any]
    recipe: str
    images: bool = False
    native: bool = False
    detector: str = ""
    projections: int = 0
    shape: Shape | None = None
    span_deg: float | None = None
    parts: int = 1
    number: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    own: dict[Kind, int] = field(default_factory=dict)
    paired: dict[Kind, list[Reference]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    files: tuple[Path, ...] = ()


@dataclass
class Reference:
    """Flats or darks that were found in files of their own.

    Attributes
    ----------
    kind : {"flat", "dark"}
    home : Path
        Their file.
    source : str
        What follows the file: ``::dataset[range]``, or empty for all of it; a pattern of images from its folder on.
    """

    kind: Kind
    home: Path
    source: str
    count: int
    shape: Shape
    images: bool = False
    after: bool = False
    number: int | None = None
    start: datetime | None = None
    told: str = ""


@dataclass
class AngleList:
    """Angles that were found in a file of their own: a dataset (``::Angle``) or a text file."""

    home: Path
    source: str
    count: int


@dataclass
class Folder:
    """Everything that was found."""

    root: Path
    scans: list[Found] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    angles: list[AngleList] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    unused: list[tuple[Path, str]] = field(default_factory=list)
    consumed: set[Path] = field(default_factory=set)


def tokens(text: str) -> list[str]:
    """Return the words of a name, small: what digits, marks and a change of case divide."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return [
        word for word in re.split(r"[^a-zA-Z0-9]+|(?<=[a-zA-Z])(?=\d{2,})|(?<=\d)(?=[a-zA-Z])", spaced.lower()) if word
    ]


def says(text: str, words: Sequence[str]) -> bool:
    """Tell whether one of the words of a name is among some patterns."""
    return any(fnmatch.fnmatch(token, word) for token in tokens(text) for word in words)


def kinds_in(text: str, words: Mapping[str, Sequence[str]]) -> frozenset[Kind]:
    """Return of which kinds of references a name speaks: none, one, or both."""
    kinds: tuple[Kind, ...] = ("flat", "dark")
    return frozenset(kind for kind in kinds if says(text, words[f"{kind}s"]))


def number_of(path: Path, root: Path, words: Mapping[str, Sequence[str]]) -> int | None:
    """Return the number of a file's run: of its name, or of a folder where its name is one for all."""
    parts = [path.stem]
    try:
        parts += list(path.parent.relative_to(root).parts)[::-1]
    except ValueError:
        parts += [path.parent.name]
    every = [*words["flats"], *words["darks"], *_GENERIC]
    later: int | None = None
    for part in parts:
        digits = re.findall(r"\d+", _UUID.sub("", part))
        if not digits:
            continue
        names = [token for token in tokens(part) if not token.isdigit()]
        plain = len(parts) > 1 and all(any(fnmatch.fnmatch(name, word) for word in every) for name in names)
        if not plain:
            return int(digits[-1])
        later = int(digits[-1]) if later is None else later
    return later
