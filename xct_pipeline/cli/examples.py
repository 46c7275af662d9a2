"""``xct example``: the configurations that travel with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import xct_pipeline
from xct_pipeline.cli.terminal import print_table


def example(
    name: Annotated[str | None, typer.Argument(help="Which one to print; without it they are listed.")] = None,
) -> None:
    """Print a commented configuration to begin with.

    Example: xct example operando_nak > run.toml
    """
    files = {path.stem: path for path in sorted(folder().glob("*.toml"))}
    if name is None:
        table = Table("example", "for")
        for stem, path in files.items():
            table.add_row(stem, _purpose(path.read_text(encoding="utf-8")))
        print_table(table)
        return
    chosen = name.removesuffix(".toml")
    if chosen not in files:
        raise ValueError(f"there is no example {name!r}: choose one of {', '.join(files)}")
    print(files[chosen].read_text(encoding="utf-8"), end="")


def folder() -> Path:
    """Return the folder of the examples: in the package, or beside it where it is used from its sources."""
    package = Path(xct_pipeline.__file__).parent
    return next(path for path in (package / "configs", package.parent / "configs") if path.is_dir())


def _purpose(text: str) -> str:
    """Return the first sentence of the comment that a configuration begins with."""
    lines = [line.removeprefix("#").strip() for line in text.split("\n\n")[0].splitlines()]
    return " ".join(lines).split(". ")[0].rstrip(".")
