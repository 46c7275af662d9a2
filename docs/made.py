"""Make the reference pages of the site from the code: commands, Python names, tables and files of a store."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

import xct_pipeline as xct
from xct_pipeline.acquisition.formats import FORMATS as READ
from xct_pipeline.cli.app import app
from xct_pipeline.store import layout
from xct_pipeline.store.formats import FORMATS as WRITTEN
from xct_pipeline.store.tables import TABLES

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("correction", "reconstruction", "registration", "segmentation", "variation", "electrochemistry")
RESULTS = ("scan.Scan", "planning.plan.Plan", "config.Config", "store.opened.open_image")
"""What the public functions take and return, and what belongs to them."""


def write(folder: Path) -> None:
    """Write all pages into a folder, each only where it changed, so that a second build has less to do."""
    folder.mkdir(exist_ok=True)
    pages = {"cli": cli(), "python": python(), "tables": tables(), "files": files()}
    pages |= {name.lower(): of_the_root(f"{name}.md") for name in ("CHANGELOG", "CONTRIBUTING")}
    pages |= {f"kernels_{stage}": kernels(stage) for stage in STAGES}
    for name, text in pages.items():
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def cli() -> str:
    """Return a page with the help of every command, as the command itself prints it."""
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    parts = ["# Commands\n\nAs `xct --help` and `xct COMMAND --help` print it.\n", _shown("xct")]
    parts += [f"## `xct {name}`\n\n{_shown('xct', name)}" for name in names]
    return "\n".join(parts)


def _shown(*words: str) -> str:
    ended = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"}).invoke(app, [*words[1:], "--help"], prog_name="xct")
    lines = [line.rstrip() for line in ended.output.strip("\n").splitlines()]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def python() -> str:
    """Return a page with the public names, and the classes that they take and return."""
    head = (
        "# Python\n\n`import xct_pipeline as xct` brings these names. Kernels, plain functions of arrays, are imported "
        "from the modules of their stage: " + ", ".join(f"[{s}](kernels_{s}.md)" for s in STAGES) + ".\n"
    )
    body = [_directive(f"xct_pipeline.{xct._MODULES[name]}.{name}") for name in xct.__all__]
    return "\n".join([head, *body, "## Beside them\n", *(_directive(f"xct_pipeline.{p}") for p in RESULTS)])


def _directive(path: str) -> str:
    module, name = path.rsplit(".", 1)
    thing = getattr(importlib.import_module(module), name)
    kind = "autoclass" if inspect.isclass(thing) else "autofunction"
    return f"```{{eval-rst}}\n.. {kind}:: {path}\n```\n"  # docstrings are reStructuredText


def kernels(stage: str) -> str:
    """Return a page with the functions and classes of one stage's modules, without its orchestration."""
    parts = [f"# Kernels: {stage}\n"]
    for name in _modules(f"xct_pipeline.{stage}"):
        module = importlib.import_module(name)
        own = [
            f"{name}.{key}"
            for key, thing in vars(module).items()
            if not key.startswith("_")
            and callable(thing)
            and thing.__doc__
            and getattr(thing, "__module__", "") == name
        ]
        if own:
            about = (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")
            parts += [f"## `{name.removeprefix('xct_pipeline.')}`\n\n{about}\n", *map(_directive, own)]
    return "\n".join(parts)


def _modules(package: str) -> Iterator[str]:
    yield package
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if found.name == "steps" or found.name.startswith("_"):
            continue
        name = f"{package}.{found.name}"
        if found.ispkg:
            yield from _modules(name)
        else:
            yield name


def tables() -> str:
    """Return a page with every table of a store and its columns."""
    parts = [
        "# Tables and columns\n\n`tables/<name>.csv` of a store; `xct.open_table(store, name)` reads one. A run leaves "
        "out the columns that it has nothing for.\n"
    ]
    for name, table in TABLES.items():
        rows = [
            f"| `{column.name}` | {column.kind} | {column.unit} | {_cell(column.meaning)} |" for column in table.columns
        ]
        head = ["| column | kind | unit | meaning |", "| --- | --- | --- | --- |"]
        parts += [f"## `{name}`\n\nOne row: {_cell(table.row)}.\n", *head, *rows, ""]
    return "\n".join(parts)


def files() -> str:
    """Return a page with the formats that are read and written, and the images of a store."""
    read = [f"| {form.name} | {', '.join(f'`{s}`' for s in form.suffixes) or 'by `run.toml`'} |" for form in READ]
    written = [f"| `{name}` | {_cell(form.what)} |" for name, form in WRITTEN.items()]
    images = [f"| `{place.path}` | {_cell(place.meaning)} |" for place in layout.IMAGES]
    parts = [
        "# Formats of files\n",
        "## Raw scans\n\nMore on the page on [acquisition](../acquisition.md); files of any other layout: "
        "[layouts](../layouts.md).\n",
        "| format | endings |\n| --- | --- |",
        *read,
        "\nTIFF and EDF images stand in `[[acquisition.tiff]]` tables, volumes in "
        "[`[[acquisition.volume]]`](../volumes.md).\n",
        "## Images of a store\n\nOME-Zarr 0.5; see [the store](../store.md).\n",
        "| path | axes, unit, meaning |\n| --- | --- |",
        *images,
        "\n## Export\n\n`xct export STORE --format F`; see [volumes](../volumes.md#export).\n",
        "| `--format` | what is written |\n| --- | --- |",
        *written,
        "",
    ]
    return "\n".join(parts)


def of_the_root(name: str) -> str:
    """Return a page that lies beside the README, its links into the docs made right."""
    return (ROOT / name).read_text().replace("](docs/", "](../")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
