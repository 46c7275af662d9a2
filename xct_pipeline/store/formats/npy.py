"""NumPy: a .npy file a scan; what it cannot say stands in one .json file for all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xct_pipeline.store.formats.common import Exported, Format, write_numbers


def _write(target: Path, images: Sequence[Exported]) -> None:
    (exported,) = images
    header = {"descr": exported.dtype.str, "fortran_order": False, "shape": exported.shape}
    with target.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        write_numbers(stream, exported)


def _index(target: Path, files: Sequence[tuple[str, Exported]]) -> None:
    target.write_text(json.dumps({file: exported.facts() for file, exported in files}, indent=1) + "\n")


FORMAT = Format("npy", ".npy", "one file a scan, with a .json of facts", _write, index=_index, index_suffix=".json")
