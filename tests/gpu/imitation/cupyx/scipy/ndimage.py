"""Imitation of cupyx.scipy.ndimage."""

from typing import Any

import scipy.ndimage as _host
from cupy import _known, strict


def __getattr__(name: str) -> Any:
    return strict(_known("cupyx.scipy.ndimage", name, getattr(_host, name)), f"cupyx.scipy.ndimage.{name}")
