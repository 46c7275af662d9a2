"""What a run writes is valid OME-Zarr 0.5 for readers that are not ours, and damage is found at reading."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr

from xct_pipeline import open_volume


def test_ome_zarr_models(finished):
    from ome_zarr_models.v05.image import Image

    for name in ("scan_00", "scan_01"):
        image = Image.from_zarr(zarr.open_group(str(finished / "store.zarr" / "scans" / name / "volume"), mode="r"))
        (multiscale,) = image.attributes.ome.multiscales
        assert [axis.name for axis in multiscale.axes] == ["z", "y", "x"]
        assert {axis.unit for axis in multiscale.axes} == {"micrometer"}


def test_yaozarrs(finished):
    import yaozarrs

    yaozarrs.validate_zarr_store(str(finished / "store.zarr" / "scans" / "scan_00" / "volume"))


def test_levels_units_and_coordinates(finished):
    full = open_volume(finished / "store.zarr", "scan_00")
    half = open_volume(finished / "store.zarr", "scan_00", level=1)
    assert full.attrs["units"] == "1/cm"
    mean = full.values.astype(np.float64).reshape(24, 2, 48, 2, 48, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(half.values, mean, atol=1e-6 * np.abs(mean).max())
    np.testing.assert_allclose(half.x.values, full.x.values.reshape(-1, 2).mean(axis=1))


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_flipped_byte_raises(finished, tmp_path, place):
    store = tmp_path / "store.zarr"
    shutil.copytree(finished / "store.zarr", store)
    file = store / "scans/scan_00/volume/0/c/1/0/0"
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 1
    file.write_bytes(data)
    with pytest.raises(Exception, match=r"(?i)crc|checksum"):
        open_volume(store, "scan_00").compute()
