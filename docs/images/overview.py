"""Draw the README's picture, the first of the report, from a store that has been run through to mass.

xct demo && python docs/images/overview.py xct-demo/store.zarr
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from xct_pipeline.report.contents import read_contents
from xct_pipeline.report.maps import time_series

WIDTH = 1100


def main(store: Path, file: Path) -> None:
    """Write the maps beside the voltage profile as a PNG."""
    drawn = io.BytesIO()
    time_series(read_contents(store)).savefig(drawn, format="png", dpi=200)
    picture = Image.open(drawn).convert("RGB")
    small = picture.resize((WIDTH, round(WIDTH * picture.height / picture.width)), Image.Resampling.LANCZOS)
    small.save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("overview.png"))
