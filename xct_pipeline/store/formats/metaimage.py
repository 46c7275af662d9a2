"""Raw numbers with a header of their own: a folder with MetaImage's .mhd, the .raw, and the same facts as .json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from xct_pipeline.store.formats.common import Exported, Format, write_numbers

TYPES = {
    "float32": "MET_FLOAT",
    "float64": "MET_DOUBLE",
    "uint8": "MET_UCHAR",
    "int8": "MET_CHAR",
    "uint16": "MET_USHORT",
    "int16": "MET_SHORT",
    "uint32": "MET_UINT",
    "int32": "MET_INT",
    "uint64": "MET_ULONG_LONG",
    "int64": "MET_LONG_LONG",
}


def _write(target: Path, images: Sequence[Exported]) -> None:
    (exported,) = images
    target.mkdir()
    n = len(exported.axes)
    lines = [
        "ObjectType = Image",
        f"NDims = {n}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        f"DimSize = {' '.join(map(str, reversed(exported.shape)))}",
        f"ElementSpacing = {' '.join([repr(exported.step)] * n)}",
        f"Offset = {' '.join(repr(float(o)) for o in reversed(exported.origin_um))}",
        f"ElementType = {TYPES[exported.dtype.name]}",
        f"ElementDataFile = {exported.name}.raw",
    ]
    (target / f"{exported.name}.mhd").write_text("\n".join(lines) + "\n")
    (target / f"{exported.name}.json").write_text(json.dumps(exported.facts(), indent=1) + "\n")
    with (target / f"{exported.name}.raw").open("wb") as stream:
        write_numbers(stream, exported)


FORMAT = Format("raw", "", "a folder a scan: numbers, .mhd header (MetaImage), .json", _write)
