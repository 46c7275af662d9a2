"""NRRD: a header in words, then the numbers, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xct_pipeline.store.formats.common import Exported, Format, write_numbers


def _write(target: Path, images: Sequence[Exported]) -> None:
    (exported,) = images
    n = len(exported.axes)
    directions = ["(" + ",".join(repr(exported.step) if i == k else "0" for i in range(n)) + ")" for k in range(n)]
    known = exported.voxel_um is not None
    lines = [
        "NRRD0005",
        f"# {exported.image} of {exported.scan}, values in {exported.unit or 'no unit'}",
        f"type: {'float' if exported.dtype.name == 'float32' else exported.dtype.name}",
        f"dimension: {n}",
        f"space dimension: {n}",
        f"sizes: {' '.join(map(str, reversed(exported.shape)))}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {' '.join(['domain'] * n)}",
        *([f"space units: {' '.join([chr(34) + 'um' + chr(34)] * n)}"] if known else []),
        f"space origin: ({','.join(repr(float(o)) for o in reversed(exported.origin_um))})",
        "endian: little",
        "encoding: raw",
        f"unit:={exported.unit}",
        f"scan:={exported.scan}",
        *([] if exported.time_s is None else [f"time_s:={exported.time_s!r}"]),
    ]
    with target.open("wb") as stream:
        stream.write(("\n".join(lines) + "\n\n").encode())
        write_numbers(stream, exported)


FORMAT = Format("nrrd", ".nrrd", "one file a scan", _write)
