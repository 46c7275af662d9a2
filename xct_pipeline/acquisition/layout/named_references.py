"""Flats and darks that a table of named datasets gives a scan: datasets, or files of their own."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.acquisition.formats import Kind
from xct_pipeline.acquisition.layout import times as clocks
from xct_pipeline.acquisition.layout.source import is_there, parse
from xct_pipeline.acquisition.layout.stacks import Opened, length_of, open_stack
from xct_pipeline.acquisition.references import JoinedFrames, with_references
from xct_pipeline.scan import Frames, Scan, ScanError


def with_named_references(
    scan: Scan, keys: Mapping[str, Any], home: Path, without_flats: bool = False, without_darks: bool = False
) -> Scan:
    """Give a scan the flats and darks that are named, before and after it."""
    kinds: tuple[tuple[Kind, bool], ...] = (("flat", without_flats), ("dark", without_darks))
    for kind, without in kinds:
        before, after = keys.get(f"{kind}s"), keys.get(f"{kind}s_after")
        if without or before == "none" or (before is None and after is None):
            continue
        groups = [_opened(scan, kind, named, home) for named in (before, after)]
        n = float(len(scan.angles))
        stacks = [frames for group in groups for frames, _, _ in group]
        files = [path for group in groups for _, used, _ in group for path in used]
        positions = [
            np.full(frames.shape[0], n if k == 1 or late else 0.0)
            for k, group in enumerate(groups)
            for frames, _, late in group
        ]
        for frames, used, _ in [item for group in groups for item in group]:
            if frames.shape[1:] != scan.shape[1:]:
                raise ScanError(
                    f"{used[0]}: {kind}s are {frames.shape[1:]}, the projections {scan.shape[1:]} (row, column): "
                    "references of another detector"
                )
        stack = stacks[0] if len(stacks) == 1 else JoinedFrames(tuple(stacks))
        new: dict[str, Any] = {f"{kind}s": stack, f"{kind}_position": np.concatenate(positions)}
        scan = replace(scan, **new, files=tuple(dict.fromkeys((*scan.files, *files))))
    return scan


_Group = list[tuple[Frames, Sequence[Path], bool]]


def _opened(scan: Scan, kind: Kind, named: str | Sequence[str] | None, home: Path) -> _Group:
    """Open references: datasets, or whole files; the last says that they were taken after the scan."""
    found: _Group = []
    for text in [named] if isinstance(named, str) else named or ():
        source = parse(text)
        if source.file is None and _matches(text, home) and not is_there(source, home):
            whole = with_references(scan, kind, str(home.parent / text), None, home.parent)
            frames = whole.flats if kind == "flat" else whole.darks
            assert frames is not None
            position = whole.flat_position if kind == "flat" else whole.dark_position
            late = bool(len(position) and position.min() >= len(scan.angles))
            found.append((frames, [path for path in whole.files if path not in scan.files], late))
            continue
        opened = open_stack(source, home)
        found.append((opened.frames, opened.files, _late(scan, opened)))
    return found


def _matches(text: str, home: Path) -> bool:
    below = str(Path(glob.escape(str(home.parent))) / text)
    return (home.parent / text).is_file() or bool(glob.glob(below))


def _late(scan: Scan, opened: Opened) -> bool:
    """Tell by time stamps whether references were taken after the scan."""
    if scan.end is None or scan.end.tzinfo is None:
        return False
    values = clocks.beside(opened.holder, length_of(opened, -1))
    if values is None or len(opened.numbers) == 0:
        return False
    first = clocks.stamps_of(values).at(int(opened.numbers[0]))
    return first is not None and first >= scan.end
