"""Commands that look after a store: whether it is whole, and scans that are to be forgotten."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from xct_pipeline.cli.options import WRONG, JsonFlag, print_json


def verify(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store.")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode every chunk, and compare raw files by their full content.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove what is wrong, so that xct run computes exactly that.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check that a store is what its runs wrote: metadata, grids, digests, markers, tables, leftovers.

    Example: xct verify store.zarr --repair
    """
    import contextlib

    from xct_pipeline.store import verify as checks
    from xct_pipeline.store.files import StoreError
    from xct_pipeline.store.store import Store

    there = Store(store)
    if not there.exists():
        raise StoreError(f"{store} is no store of xct")
    with there.lock() if repair or os.access(there.state, os.W_OK) else contextlib.nullcontext():
        verdict = checks.verify(there, deep)
        left = checks.repair(there, verdict.problems) if repair else verdict.problems
    if as_json:
        print_json(
            {
                "problems": [{"place": p.place, "what": p.what} for p in verdict.problems],
                "repaired": repair and not left,
                "unfinished": verdict.unfinished,
                "images": verdict.images,
                "shards": verdict.shards,
            }
        )
    else:
        for line in (*verdict.problems, *verdict.unfinished):
            print(line)
        print(_sentence(len(verdict.problems), len(left), verdict.images, verdict.shards, repair))
    if left:
        raise typer.Exit(WRONG)


def _sentence(problems: int, left: int, images: int, shards: int, repair: bool) -> str:
    looked = f"{images} images, {shards} shards"
    if not problems:
        return f"{looked}: all as written"
    if not repair:
        return f"{looked}: {problems} problems; --repair removes what is wrong, then xct run computes it anew"
    return f"{looked}: {problems - left} of {problems} problems removed; xct run computes what is missing"


def forget(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store.")],
    scan: Annotated[str, typer.Argument(metavar="SCAN", help="Its name.")],
) -> None:
    """Let a store forget a scan: its volume is deleted, and the next run does not ask for it.

    Example: xct forget store.zarr scan_03
    """
    from xct_pipeline.store.files import StoreError
    from xct_pipeline.store.store import Store

    there = Store(store)
    if not there.exists():
        raise StoreError(f"{store} is no store of xct")
    with there.lock():
        there.forget(scan)
    print(f"{store} has forgotten {scan}; the next xct run brings the series up to date")
