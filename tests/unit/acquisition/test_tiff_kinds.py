"""TIFF as cameras write it: compressed, predicted, tiled, of either byte order, and packed to fewer bits than 16."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xct_pipeline.acquisition.images import image_frames

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs", reason="imagecodecs (extra formats) is not installed")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    compression=st.sampled_from(["lzw", "zlib", "zstd", "packbits", "lzma"]),
    predictor=st.booleans(),
    order=st.sampled_from("<>"),
    tile=st.sampled_from([None, (16, 16), (16, 32)]),
    rows=st.integers(5, 40),
    columns=st.integers(5, 40),
    bits=st.sampled_from([8, 16, 32]),
    seed=st.integers(0, 99),
)
def test_compressed_images_are_the_counts(
    tmp_path: Path, compression, predictor, order, tile, rows, columns, bits, seed
) -> None:
    counts = np.random.default_rng(seed).integers(0, 2 ** min(bits, 14), (3, rows, columns)).astype(f"u{bits // 8}")
    tifffile.imwrite(
        tmp_path / "stack.tif",
        counts,
        compression=compression,
        predictor=predictor or None,
        byteorder=order,
        tile=tile,
        photometric="minisblack",
    )
    frames = image_frames([tmp_path / "stack.tif"])
    assert frames.shape == counts.shape
    np.testing.assert_array_equal(frames.read(), counts)
    box = slice(1, 3), slice(rows // 3, rows), slice(columns // 2, columns)
    np.testing.assert_array_equal(frames.read(*box), counts[box])


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("columns", [40, 41])
def test_packed_bits_are_the_counts(tmp_path: Path, bits: int, columns: int) -> None:
    counts = np.random.default_rng(bits).integers(0, 2**bits, (33, columns)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "packed.tif", counts, bitspersample=bits, photometric="minisblack")
    frames = image_frames([tmp_path / "packed.tif"] * 2)
    assert frames.dtype == np.uint16
    np.testing.assert_array_equal(frames.read()[1], counts)


@pytest.mark.parametrize("how", [{"compression": "lzw"}, {"bitspersample": 12}], ids=["lzw", "12 bits"])
def test_without_the_extra_it_is_named(tmp_path: Path, how: dict[str, object]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.arange(600, dtype=np.uint16).reshape(20, 30), photometric="minisblack", **how)
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from pathlib import Path\n"
        "from xct_pipeline.acquisition.images import image_frames\n"
        "from xct_pipeline.scan import ScanError\n"
        "try:\n"
        "    image_frames([Path(sys.argv[1])]).read()\n"
        "except ScanError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    assert said.startswith(str(path))
    assert "install imagecodecs, pip install 'xct-pipeline[formats]'" in said
    assert len(said.splitlines()) == 1
