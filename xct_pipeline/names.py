"""Names that become parts of paths: of scans, materials, regions and fragments.

The one place that says what such a name may be. Configurations declare their names as `Name`; whatever else makes a
path of a name (a file's stem, a name that an older store holds) passes through `check_name` or `fitting_name` first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

LONGEST = 100  # characters
MOST_BYTES = 200  # in UTF-8: file systems take 255, and endings are added
ALLOWED = "letters, digits, _ - . and spaces"
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in "0123456789¹²³")}
# folders and files of a store and of its state, beside which a name may come to lie
_STORE = {
    *("zarr.json", "scans", "registered", "variation", "tables", "labels", "volume", "projections", "c"),
    *("segmentation", "sums", "noise", "pairs", "surface", "estimates", "markers", "parcels", "report.html", "run.log"),
}


def check_name(name: str) -> str:
    """Return a name that is safe as a part of a path on every system, or say what is wrong with it.

    Parameters
    ----------
    name : str
        Of a scan, a material, a region or a fragment.

    Returns
    -------
    str
        The name in Unicode's composed form (NFC).

    Raises
    ------
    ValueError
        Empty, too long, characters beyond letters, digits, ``_ - .`` and spaces, dots only, a name that begins or
        ends with a space or a dot or begins with a dash, or one that a system keeps for a device.
    """
    text = unicodedata.normalize("NFC", name)
    problem = _problem(text)
    if problem:
        raise ValueError(f"{name[:60]!r} cannot be a name: {problem}")
    return text


def _problem(text: str) -> str | None:
    """Return what keeps a composed text from being a name."""
    if not text:
        return "it is empty"
    if len(text) > LONGEST or len(text.encode("utf-8", "replace")) > MOST_BYTES:
        return f"it has {len(text)} characters, at most {LONGEST} may be ({MOST_BYTES} bytes)"
    strange = sorted({c for c in text if not _fits(c)})
    if strange:
        return f"it holds {', '.join(map(ascii, strange[:3]))}; {ALLOWED} may be used"
    if not text.strip(". "):
        return "it is made of dots and spaces alone"
    if text[0] in " .-" or text[-1] in " .":
        return "it begins with a space, a dot or a dash, or ends with a space or a dot"
    if text.casefold().split(".")[0].strip() in _DEVICES:
        return "a system keeps it for a device"
    return None


def shown(name: str) -> str:
    """Return a name as a message tells it: as it is where it can be one, else quoted and cut, on one line."""
    return name if _problem(name) is None else repr(name[:60])


def check_scan_name(name: str) -> str:
    """Return a name that is safe for a scan: as `check_name`, and none that the store uses beside scans' folders."""
    text = check_name(name)
    if text.casefold() in _STORE:
        raise ValueError(f"{name!r} cannot be the name of a scan: the store uses it")
    return text


def _fits(character: str) -> bool:
    """Tell whether a character may be used: a letter, a mark of one, a digit, or one of ``_ - .`` and the space."""
    return character in "_-. " or unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo", "Lm", "Mn", "Mc", "Nd")


Name = Annotated[str, AfterValidator(check_name)]
ScanName = Annotated[str, AfterValidator(check_scan_name)]


def fitting_name(text: str) -> str:
    """Return the name nearest to a text that may be none, the same for the same text: ``scan (1)`` becomes ``scan _1``.

    What does not fit becomes ``_``, a text that is too long is cut, and where nothing is left or the name is reserved
    it begins with ``scan_``.
    """
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    if _is_scan_name(text):
        return text
    text = re.sub(r"_+", "_", "".join(c if _fits(c) else "_" for c in text)).lstrip("-. ").rstrip("_. ")
    text = _shortened(text)
    return text if _is_scan_name(text) else _shortened(f"scan_{text}")


def _is_scan_name(text: str) -> bool:
    return _problem(text) is None and text.casefold() not in _STORE


def _shortened(text: str) -> str:
    text = text[:LONGEST]
    while len(text.encode()) > MOST_BYTES:
        text = text[:-1]
    return text.rstrip(" .")


def alike(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that a file system may take for one: equal but for case and Unicode's forms."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key_of(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def key_of(name: str) -> str:
    """Return what two names share that a file system may take for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def check_distinct(names: Iterable[str], what: str) -> None:
    """Refuse names of which two could be one file.

    Raises
    ------
    ValueError
        Names the first two.
    """
    for group in alike(names):
        raise ValueError(f"{what} {group[0]!r} and {group[1]!r}: names must differ by more than case")


def check_path(path: str) -> str:
    """Return a path inside a store, as a pass or an estimate names it, having made sure that it stays inside.

    Raises
    ------
    ValueError
        Empty, absolute, with a drive, an empty part, ``.`` or ``..``, a backslash or a control character.
    """
    parts = path.split("/")
    whole = not PurePosixPath(path).is_absolute() and all(part and part.strip(". ") for part in parts)
    if not whole or any(c in "\\:" or unicodedata.category(c).startswith("C") for c in path):
        raise ValueError(f"{path[:100]!r} is no path inside a store")
    return path
