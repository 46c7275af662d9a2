"""VTK image data for ParaView: a .vti file a scan, and a .pvd file that lists them with their times."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from xct_pipeline.store.formats.common import Exported, Format, write_numbers

TYPES = {
    "float32": "Float32",
    "float64": "Float64",
    **{f"{sign}int{bits}": f"{'U' if sign else ''}Int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def _write(target: Path, images: Sequence[Exported]) -> None:
    (exported,) = images
    shape = (1,) * (3 - len(exported.shape)) + exported.shape
    origin = (0.0,) * (3 - len(exported.shape)) + exported.origin_um
    extent = " ".join(f"0 {n - 1}" for n in reversed(shape))
    name = quoteattr(exported.image.rsplit("/", 1)[-1] + (f" ({exported.unit})" if exported.unit else ""))
    spacing = " ".join([repr(exported.step)] * 3)
    start = " ".join(repr(float(o)) for o in reversed(origin))
    header = (
        '<?xml version="1.0"?>\n'
        '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n'
        f'<ImageData WholeExtent="{extent}" Origin="{start}" Spacing="{spacing}">\n'
        f'<Piece Extent="{extent}"><PointData Scalars={name}>\n'
        f'<DataArray type="{TYPES[exported.dtype.name]}" Name={name} format="appended" offset="0"/>\n'
        "</PointData></Piece></ImageData>\n"
        '<AppendedData encoding="raw">\n_'
    )
    with target.open("wb") as stream:
        stream.write(header.encode())
        stream.write(struct.pack("<Q", exported.nbytes))
        write_numbers(stream, exported)
        stream.write(b"\n</AppendedData>\n</VTKFile>\n")


def _index(target: Path, files: Sequence[tuple[str, Exported]]) -> None:
    known = all(e.time_s is not None and math.isfinite(e.time_s) for _, e in files)
    lines = [
        f'<DataSet timestep="{e.time_s if known else k!r}" part="0" file={quoteattr(file)}/>'
        for k, (file, e) in enumerate(files)
    ]
    text = '<?xml version="1.0"?>\n<VTKFile type="Collection" version="1.0"><Collection>\n'
    target.write_text(text + "\n".join(lines) + "\n</Collection></VTKFile>\n")


FORMAT = Format("vtk", ".vti", "image data for ParaView, times in a .pvd", _write, index=_index, index_suffix=".pvd")
