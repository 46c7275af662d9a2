"""From a series of raw X-ray tomography scans to maps of the mass that left and entered.

The names below are the public interface; kernels are importable from the modules of their stage and take plain arrays.
They are imported when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "Resources": "engine.resources",
    "find_centers": "planning.preview",
    "load_config": "config.file",
    "open_scan": "acquisition",
    "open_table": "store.store",
    "open_tiff_scan": "acquisition",
    "open_volume": "store.store",
    "parse_config": "config.file",
    "plan": "planning.plan",
    "preview": "planning.preview",
    "run": "pipeline",
    "simulate": "simulation.simulate",
    "view": "viewer",
    "write_report": "report",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
