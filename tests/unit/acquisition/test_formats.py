"""Formats of raw files as values: the table, who takes a file, and what the viewer's plugin says of it."""

from importlib import resources
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import yaml

from xct_pipeline.acquisition import open_scan
from xct_pipeline.acquisition.formats import FORMATS, SUFFIXES, format_of
from xct_pipeline.scan import ScanError


def test_a_file_is_shown_to_formats_in_one_order() -> None:
    assert [form.name for form in FORMATS] == ["EDF", "TIFF", "Data Exchange", "NXtomo", "plain HDF5"]
    assert len({form.rank for form in FORMATS}) == len(FORMATS)


def test_the_plugin_takes_what_the_table_holds() -> None:
    manifest = yaml.safe_load(resources.files("xct_pipeline").joinpath("napari.yaml").read_text(encoding="utf-8"))
    (reader,) = manifest["contributions"]["readers"]
    assert sorted(reader["filename_patterns"]) == sorted(["*.zarr", "*.toml", *(f"*{suffix}" for suffix in SUFFIXES)])


def put(path: Path, **stacks: str) -> Path:
    with h5py.File(path, "w") as file:
        for name, where in stacks.items():
            file[where] = np.ones((2, 3, 4), np.uint16)
            file[where].attrs["name"] = name
    return path


def test_every_file_has_the_format_that_is_in_it(tmp_path: Path) -> None:
    whole = put(tmp_path / "a.h5", data="exchange/data")
    white = put(tmp_path / "b.h5", white="exchange/data_white")
    plain = put(tmp_path / "c.h5", some="images")
    keyed = put(tmp_path / "d.nxs", data="entry/instrument/detector/data", key="entry/instrument/detector/image_key")
    tiff = tmp_path / "no_suffix"
    tifffile.imwrite(tiff, np.ones((3, 4), np.uint16), photometric="minisblack")

    def names(path: Path) -> list[str]:
        return [format_of(path, None, kind).name for kind in (None, "flat", "dark")]  # type: ignore[arg-type]

    assert names(whole) == ["Data Exchange"] * 3
    assert names(white) == ["NXtomo", "Data Exchange", "plain HDF5"]
    assert names(plain) == ["NXtomo", "plain HDF5", "plain HDF5"]
    assert names(keyed) == ["NXtomo"] * 3
    assert names(tiff) == ["TIFF"] * 3
    assert format_of(whole, "/entry").name == "NXtomo"
    with pytest.raises(ScanError, match=r"carry no angles: describe them under \[\[acquisition\.tiff\]\]"):
        open_scan(tiff)
