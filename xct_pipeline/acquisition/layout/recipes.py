"""Recipes: how a facility lays out its files, one small TOML file each, with the keys of ``[[acquisition.hdf5]]``."""

from __future__ import annotations

import fnmatch
import glob
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from natsort import natsorted

from xct_pipeline.acquisition.hdf5 import one_line
from xct_pipeline.acquisition.layout.source import is_there, parse
from xct_pipeline.inputs import read_bytes
from xct_pipeline.scan import ScanError

OURS = Path(__file__).resolve().parent.parent / "recipes"
MOST_LINES = 40
KEYS = frozenset(
    {
        *("data", "angles", "angle_times", "key", "flats", "flats_after", "darks", "darks_after", "images", "times"),
        *("start", "end", "energy", "pixel_size", "current", "current_times", "split", "frames_per_angle"),
        *("angles_per_frame", "pixel_size_um", "energy_keV", "native"),
    }
)
REFERENCE_KEYS = frozenset({"file", "has", "beside", "flats", "darks", "mixed"})
IMAGE_KEYS = frozenset({"flats", "darks", "after", "ignored", "angles"})


@dataclass(frozen=True)
class Rule:
    """What tells a file: its name, what is in it (``!`` for what is not), and what lies beside it."""

    file: tuple[str, ...]
    has: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def takes(self, path: Path) -> bool:
        """Tell whether a file is of this kind."""
        if not any(fnmatch.fnmatch(path.name.lower(), pattern.lower()) for pattern in self.file):
            return False
        folder = Path(glob.escape(str(path.parent)))
        for pattern in self.beside:
            others = [name for name in glob.glob(str(folder / pattern.lstrip("!"))) if Path(name) != path]
            if bool(others) == pattern.startswith("!"):
                return False
        return all(is_there(parse(name.lstrip("!")), path) != name.startswith("!") for name in self.has)


@dataclass(frozen=True)
class References:
    """Files of flats or darks of a recipe; ``mixed`` is a stack of both, told apart by their level."""

    rule: Rule
    keys: Mapping[str, str]


@dataclass(frozen=True)
class Recipe:
    """One way in which files are laid out.

    Attributes
    ----------
    name : str
        As it is shown.
    path : Path
        Of the recipe.
    rule : Rule or None
        What tells a scan's file; None for a recipe of images.
    scan : mapping
        Keys of ``[[acquisition.hdf5]]``; where it holds a list, the first that is there.
    references : tuple of References
    images : mapping
        For images in folders: words that tell flats, darks, what was taken after the scan, what is none.
    """

    name: str
    path: Path
    rule: Rule | None
    scan: Mapping[str, Any] = field(default_factory=dict)
    references: tuple[References, ...] = ()
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def load_recipes(folders: Iterable[Path] = ()) -> list[Recipe]:
    """Read the recipes of the package and of folders of the user; one of the same name replaces that of the package.

    Raises
    ------
    ScanError
        A folder that is not there, or a recipe that cannot be used; each with its file and what is wrong.
    """
    found = {recipe.name: recipe for recipe in _of_folder(OURS)}
    for folder in folders:
        if not folder.is_dir():
            raise ScanError(one_line(f"{folder}: no such folder of recipes"))
        for recipe in _of_folder(folder):
            found[recipe.name] = recipe
    return list(found.values())


def _of_folder(folder: Path) -> list[Recipe]:
    recipes = [_read(path) for path in natsorted(folder.glob("*.toml"))]
    names: dict[str, Path] = {}
    for recipe in recipes:
        if recipe.name in names:
            raise ScanError(one_line(f"{recipe.path}: is called {recipe.name!r}, as {names[recipe.name]} is"))
        names[recipe.name] = recipe.path
    return recipes


def _read(path: Path) -> Recipe:
    try:
        text = read_bytes(path).decode("utf-8")
        data = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ScanError(one_line(f"{path}: no recipe: {error}")) from None
    if len(text.splitlines()) > MOST_LINES:
        raise ScanError(one_line(f"{path}: {len(text.splitlines())} lines, a recipe has at most {MOST_LINES}"))
    _known(path, data, {"name", "file", "has", "beside", "scan", "references", "images"}, "")
    if not isinstance(data.get("name"), str):
        raise ScanError(one_line(f"{path}: a recipe needs a name"))
    images = data.get("images", {})
    _known(path, images, IMAGE_KEYS, "images.")
    scan, references = data.get("scan", {}), data.get("references", [])
    _known(path, scan, KEYS, "scan.")
    if not images and ("file" not in data or not (scan.get("data") or scan.get("native"))):
        raise ScanError(one_line(f"{path}: a recipe needs file and scan.data (or images)"))
    for item in references:
        _known(path, item, REFERENCE_KEYS, "references.")
        if "file" not in item or not {"flats", "darks", "mixed"} & set(item):
            raise ScanError(one_line(f"{path}: references need file and flats, darks or mixed"))
    return Recipe(
        data["name"],
        path,
        _rule(data) if "file" in data else None,
        scan,
        tuple(
            References(_rule(item), {k: item[k] for k in ("flats", "darks", "mixed") if k in item})
            for item in references
        ),
        {key: tuple(words) for key, words in images.items()},
    )


def _rule(data: Mapping[str, Any]) -> Rule:
    return Rule(*(_texts(data.get(key, ())) for key in ("file", "has", "beside")))


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def _known(path: Path, table: Any, known: Iterable[str], where: str) -> None:
    if not isinstance(table, Mapping):
        raise ScanError(one_line(f"{path}: {where.rstrip('.')} is no table"))
    strange = sorted(set(table) - set(known))
    if strange:
        raise ScanError(one_line(f"{path}: {where}{strange[0]}: unknown key (known here: {', '.join(sorted(known))})"))


def the_recipe(path: Path, recipes: Sequence[Recipe]) -> Recipe | None:
    """Return the recipe that recognises a file as a scan's; None where none does.

    Raises
    ------
    ScanError
        Several do.
    """
    matching = [recipe for recipe in recipes if recipe.rule is not None and recipe.rule.takes(path)]
    if len(matching) > 1:
        names = " and ".join(f"{recipe.name!r} ({recipe.path.name})" for recipe in matching[:3])
        raise ScanError(one_line(f"{path}: recipes {names} both recognise it: choose one with --recipe NAME"))
    return matching[0] if matching else None


def references_in(path: Path, recipes: Sequence[Recipe]) -> tuple[Recipe, Mapping[str, str]] | None:
    """Return the first recipe that recognises a file of flats or darks, and what it says of it."""
    for recipe in recipes:
        for item in recipe.references:
            if item.rule.takes(path) and any(is_there(parse(source), path) for source in item.keys.values()):
                return recipe, {kind: source for kind, source in item.keys.items() if is_there(parse(source), path)}
    return None
