"""What ``xct init DIR`` found in a folder, as a table and as the ``[acquisition]`` of a configuration."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit

from xct_pipeline.cli.kinds import kind_of
from xct_pipeline.cli.terminal import print_table, tell
from xct_pipeline.inputs import clean, first_of

if TYPE_CHECKING:
    from xct_pipeline.acquisition.layout.found import Folder, Found, Reference
    from xct_pipeline.acquisition.layout.recipes import Recipe

ORDER = ("file", "entry", "data", "images", "key", "angles", "angle_times", "projections", "flats", "flats_after")


def recipes_for(folders: Sequence[Path], only: str | None) -> list[Recipe]:
    """Return the recipes of the package, of the user and of named folders; of those for files only one where asked.

    Raises
    ------
    ValueError
        There is none of that name.
    """
    import platformdirs

    from xct_pipeline.acquisition.layout.recipes import load_recipes

    own = platformdirs.user_config_path("xct") / "recipes"
    recipes = load_recipes([*([own] if own.is_dir() else []), *folders])
    if only is None:
        return recipes
    chosen = [recipe for recipe in recipes if recipe.name == only or recipe.path.stem == only]
    if not chosen:
        names = ", ".join(f"{recipe.path.stem}" for recipe in recipes)
        raise ValueError(f"--recipe {only}: no such recipe; there are {names}")
    return [*chosen, *(recipe for recipe in recipes if recipe.images and recipe not in chosen)]


def needs_folder(path: Path, recipes: Sequence[Recipe]) -> bool:
    """Tell whether a file says less than a scan: a recipe has to be asked, and other files."""
    from xct_pipeline.acquisition.layout.recipes import the_recipe
    from xct_pipeline.acquisition.steps import open_as_found
    from xct_pipeline.scan import ScanError

    if kind_of(path) != "scan":
        return False
    recipe = the_recipe(path, recipes)
    if recipe is not None and not recipe.scan.get("native"):
        return True
    try:
        open_as_found(path)
    except ScanError:
        return True
    return False


def find(root: Path, recipes: Sequence[Recipe], files: Sequence[Path] | None = None) -> Folder:
    """Look through a folder, and print what is in it.

    Raises
    ------
    ValueError
        There is no scan, or a scan lacks something essential: every such thing is named.
    """
    from xct_pipeline.acquisition.layout.walk import walk
    from xct_pipeline.acquisition.steps import open_as_found

    found = walk(root, recipes, files)
    print_found(found)
    if not found.scans:
        if files:
            open_as_found(files[0])  # says what is wrong with it
        what = "; ".join(f"{path.name}: {why}" for path, why in found.unused[:3])
        raise ValueError(f"{root}: no scan was found{f' ({what})' if what else ''}")
    missing = [f"{scan.name}: {clean(text)}" for scan in found.scans for text in scan.missing]
    if missing:
        lines = first_of(missing)
        head = f"{root}: nothing was written, as something is missing"
        raise ValueError(f"{head}: {lines[0]}" if len(lines) == 1 else "\n  ".join([head, *lines]))
    return found


def print_found(found: Folder) -> None:
    """Print the scans with what belongs to each, the references with their scans, logs, and what is not used."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(clean(f"scans in {found.root}")))
    for column in ("scan", "found by", "projections", "degrees", "flats", "darks", "start", "missing"):
        table.add_column(column, no_wrap=column in ("projections", "degrees", "missing"))
    for scan in found.scans:
        table.add_row(*(escape(clean(text)) for text in _row(scan)))
    if found.scans:
        print_table(table)
    for line in _notes(found):
        tell(line)


def _row(scan: Found) -> list[str]:
    parts = f" in {scan.parts} scans" if scan.parts > 1 else ""
    return [
        scan.name,
        scan.recipe,
        f"{scan.projections}{parts}" if scan.projections else "?",
        "?" if scan.span_deg is None else f"{scan.span_deg:.4g}",
        *(_count(scan, kind) for kind in ("flat", "dark")),
        "?" if scan.start is None else scan.start.isoformat(sep=" ", timespec="seconds"),
        "see below" if scan.missing else "nothing",
    ]


def _count(scan: Found, kind: Any) -> str:
    if scan.own.get(kind):
        return f"{scan.own[kind]}, its own"
    paired = scan.paired.get(kind, [])
    return str(sum(reference.count for reference in paired)) if paired else "none"  # which, is told below the table


def _called(reference: Reference) -> str:
    name = reference.home.name if not reference.images else f"{reference.home.parent.name}/{reference.source[:40]}"
    return name if reference.number is None or str(reference.number) in name else f"{reference.home.parent.name}/{name}"


def _notes(found: Folder) -> Iterable[str]:
    """Yield which references go with which scans, what was taken for what, logs, and what is not used."""
    for reference in found.references:
        scans = [scan.name for scan in found.scans if any(reference in group for group in scan.paired.values())]
        used = f"for {', '.join(first_of(scans, 6))}" if scans else "for no scan"
        when = "" if reference.start is None else f", taken {reference.start.isoformat(sep=' ', timespec='seconds')}"
        told = f" ({reference.told})" if reference.told.startswith("frames") else ""
        named = _called(reference) + ("" if reference.images else reference.source)
        yield f"{reference.count} {reference.kind}s {named}{when}: {used}{told}"
    for scan in found.scans:
        for text in dict.fromkeys(scan.told):
            yield f"{scan.name}: {text}"
    for log in found.logs:
        yield f"log {log}: name it under [electrochemistry]"
    for line in first_of([f"{path}: {why}" for path, why in found.unused]):
        yield f"not used: {line}"


def acquisition_text(found: Folder, where: Path) -> str:
    """Return the ``[acquisition]`` table of what was found; paths start at the folder of the configuration."""
    plain = [scan for scan in found.scans if scan.native and not scan.paired and not scan.images]
    if len(plain) == len(found.scans):
        names = [glob.escape(_relative(scan.home, where)) + _entry(scan) for scan in plain]
        return _table("acquisition", {"scans": names})
    tables = ["[acquisition]"]
    for scan in found.scans:
        tables.append(_table("[acquisition.tiff]" if scan.images else "[acquisition.hdf5]", _keys(scan, where)))
    return "\n".join(tables)


def _entry(scan: Found) -> str:
    return f"::{scan.keys['entry']}" if "entry" in scan.keys else ""


def _relative(path: Path, where: Path) -> str:
    return Path(os.path.relpath(path, where)).as_posix()


def _keys(scan: Found, where: Path) -> dict[str, Any]:
    """Return the keys of a scan's table in the order in which they are read."""
    from xct_pipeline.acquisition.layout.walk import keys_of

    keys = keys_of(scan)
    if scan.images:
        base = glob.escape(_relative(scan.home.parent, where))
        for key in ("projections", "flats", "flats_after", "darks", "darks_after"):
            if key in keys:
                keys[key] = _below(base, keys[key])
        keys["angles"] = {**keys["angles"], "file": _relative(scan.home.parent / keys["angles"]["file"], where)}
    else:
        keys["file"] = _relative(scan.home, where)
    ordered = {key: keys[key] for key in ORDER if key in keys}
    return {"name": scan.name, **ordered, **{key: value for key, value in keys.items() if key not in ordered}}


def _below(base: str, patterns: Any) -> Any:
    if isinstance(patterns, str):
        return Path(os.path.normpath(f"{base}/{patterns}")).as_posix()
    named = [Path(os.path.normpath(f"{base}/{each}")).as_posix() for each in patterns]
    return named[0] if len(named) == 1 else named


def _table(name: str, keys: Mapping[str, Any]) -> str:
    lines = [f"[{name}]"]
    for key, value in keys.items():
        if isinstance(value, Mapping):
            inner = tomlkit.inline_table()
            inner.update(value)
            lines.append(f"{key} = {inner.as_string()}")
        elif isinstance(value, list):
            array = tomlkit.array()
            array.extend(value)
            lines.append(f"{key} = {array.multiline(len(value) > 2).as_string()}")
        else:
            lines.append(f"{key} = {tomlkit.item(value).as_string()}")
    return "\n".join(lines) + "\n"
