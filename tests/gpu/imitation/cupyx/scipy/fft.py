"""Imitation of cupyx.scipy.fft."""

from typing import Any

import scipy.fft as _host
from cupy import _known, strict


def __getattr__(name: str) -> Any:
    return strict(_known("cupyx.scipy.fft", name, getattr(_host, name)), f"cupyx.scipy.fft.{name}")
