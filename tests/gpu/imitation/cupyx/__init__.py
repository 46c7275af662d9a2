"""Imitation of cupyx."""

from typing import Any

import numpy as _np


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    return _np.empty(shape, dtype, order)
