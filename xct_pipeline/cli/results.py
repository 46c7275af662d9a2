"""Commands on what is there: look at it, report it, export it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xct_pipeline.cli.kinds import require_shown, require_store
from xct_pipeline.cli.options import JsonFlag, print_json
from xct_pipeline.cli.terminal import complain, error_console, quiet, tell


def info(
    path: Annotated[
        str, typer.Argument(metavar="SCAN_OR_STORE", help="A raw scan, a store, or the address of a store (https, s3).")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Tell what is in a raw scan or in a store.

    Example: xct info scan_00.nxs
    """
    from xct_pipeline.cli import show
    from xct_pipeline.store.remote import is_remote, remote_facts

    facts = remote_facts(path) if is_remote(path) else show.facts_of(Path(path))
    if as_json:
        print_json(facts)
    else:
        show.print_facts(path if is_remote(path) else Path(path), facts)


def view(
    path: Annotated[
        str,
        typer.Argument(
            metavar="STORE_OR_TOML",
            help="A store or its address (https, s3), a raw scan, an OME-Zarr image or run.toml.",
        ),
    ],
) -> None:
    """Look at it in napari: volumes, registered series, labels, changes of mass, raw frames.

    Example: xct view store.zarr
    """
    from xct_pipeline.store.remote import is_remote

    if not is_remote(path):
        require_shown(Path(path))
    from xct_pipeline.viewer import view as open_viewer

    open_viewer(path)


def report(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store, or its address (https, s3).")],
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write its static pictures instead: SVG, PNG at 300 dpi, CSV of the values."),
    ] = None,
) -> None:
    """Write the HTML report of a store again, from the store alone; fetch that of a store elsewhere.

    Example: xct report store.zarr --figures for_the_paper
    """
    from xct_pipeline.store.remote import fetch_report, is_remote

    if not is_remote(store):
        require_store(Path(store))
    if figures is not None:
        _write_figures(store, figures)
        return
    if is_remote(store):
        tell(f"wrote {fetch_report(store, Path())}, the report that lies there")
        return
    from xct_pipeline.report import write_report

    tell(f"wrote {write_report(Path(store))}")


def _write_figures(store: str, folder: Path) -> None:
    from xct_pipeline.report.static import write_figures
    from xct_pipeline.store.remote import is_remote

    if is_remote(store):
        raise ValueError(f"{store}: pictures are drawn from a store on a disk; copy it first")
    for file, words in write_figures(Path(store), folder):
        if file is None:
            complain(f"left out: {words}")
        else:
            tell(f"wrote {file}")


def cite(store: Annotated[Path, typer.Argument(metavar="STORE", help="A store.")], as_json: JsonFlag = False) -> None:
    """Print a paragraph on the methods of a run and the papers to cite: what was really used.

    Example: xct cite store.zarr
    """
    from xct_pipeline.report.contents import AbsentError
    from xct_pipeline.report.methods import methods_of
    from xct_pipeline.store.series import Series

    require_store(store)
    try:
        found = methods_of(Series.open(store))
    except AbsentError as error:
        raise ValueError(f"{store}: {error}") from None
    if as_json:
        papers = [{"text": paper.text, "doi": paper.doi} for paper in found.references]
        print_json({"methods": found.paragraph, "references": papers})
        return
    tell(found.paragraph)
    for number, paper in enumerate(found.references, start=1):
        tell(f"[{number}] {paper}")


def export(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store.")],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="tiff (slices, the default), imagej (hyperstack), hdf5, nexus (NXtomoproc), vtk (ParaView), nrrd, "
            "raw, npy.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder (default: beside the store).")] = None,
    scan: Annotated[list[str] | None, typer.Option(help="Only these scans (names).")] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="volumes (the default), registered, labels, density, areal ..., or all.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Write the whole store into a bucket, such as s3://bucket/name.zarr."),
    ] = None,
) -> None:
    """Write volumes and all other images in the formats of other tools, with voxel size, unit and time.

    Example: xct export store.zarr --format vtk --image registered --image areal
    """
    require_store(store)
    if to is not None:
        if format is not None or output is not None or scan or image:
            raise ValueError("--to writes the whole store as it is: leave out --format, --output, --scan and --image")
        _upload(store, to)
        return
    from xct_pipeline.store.export import export_store

    for written in export_store(store, format or "tiff", output, scan, tuple(image or ("volumes",))):
        tell(f"wrote {written}")


def _upload(store: Path, address: str) -> None:
    """Write a store into a bucket, with a bar on a terminal."""
    from dask.utils import format_bytes
    from rich.progress import DownloadColumn, Progress

    from xct_pipeline.store.upload import upload_store

    hidden = quiet() or not error_console().is_terminal
    with Progress(*Progress.get_default_columns(), DownloadColumn(), console=error_console(), disable=hidden) as bar:
        task = bar.add_task("writing", total=None)
        done = upload_store(store, address, lambda sent, total: bar.update(task, completed=sent, total=total))
    for image in done.unfinished:
        complain(f"not finished, and empty where it is not: {image}")
    parts = [f"wrote {done.sent} files ({format_bytes(done.nbytes)})" if done.sent else "nothing to write"]
    parts += [f"{done.kept} were there already"] if done.kept else []
    parts += [f"{done.removed} of an earlier upload removed"] if done.removed else []
    tell(f"{address}: {', '.join(parts)}")
