"""Closures: the assumption that turns a change of attenuation into a change of mass, a file each.

One energy gives one number per voxel, and a binary alloy has two unknowns, so every closure adds one assumption,
states it, and says through a flag where its answer cannot be true. Flagged values are returned as they are: clipping
them would bias every sum of noisy voxels.

A file of this folder that defines ``CLOSURE`` is a closure; nothing else lists them but the names that the
configuration accepts.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import MappingProxyType

from xct_pipeline.variation.closures.common import (
    COMPOSITION,
    DENSITY,
    FLAGS,
    FRACTION,
    NOTHING,
    Closure,
    Coefficients,
    DensityChange,
    Given,
    Slopes,
)

__all__ = [
    "CLOSURES",
    "COMPOSITION",
    "DENSITY",
    "FLAGS",
    "FRACTION",
    "NOTHING",
    "Closure",
    "Coefficients",
    "DensityChange",
    "Given",
    "Slopes",
]


def _found() -> dict[str, Closure]:
    """Return the closures of this folder by name."""
    modules = [importlib.import_module(f"{__name__}.{item.name}") for item in pkgutil.iter_modules(__path__)]
    found: list[Closure] = [module.CLOSURE for module in modules if hasattr(module, "CLOSURE")]
    return {closure.name: closure for closure in found}


CLOSURES = MappingProxyType(_found())
"""Every closure by the name that the configuration gives it."""
