"""From a series of raw X-ray tomography scans to maps of the mass that left and entered.

The names below are the public interface; kernels are importable from the modules of their stage and take plain arrays.
They are imported when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from xct_pipeline.acquisition import open_scan, open_tiff_scan
    from xct_pipeline.config.file import load_config, parse_config
    from xct_pipeline.engine.resources import Resources
    from xct_pipeline.pipeline import run
    from xct_pipeline.planning.plan import plan
    from xct_pipeline.planning.preview import find_centers, preview
    from xct_pipeline.report import write_report
    from xct_pipeline.simulation.simulate import simulate
    from xct_pipeline.store.series import open_table, open_volume
    from xct_pipeline.viewer import view

__all__ = [
    "Resources",
    "find_centers",
    "load_config",
    "open_scan",
    "open_table",
    "open_tiff_scan",
    "open_volume",
    "parse_config",
    "plan",
    "preview",
    "run",
    "simulate",
    "view",
    "write_report",
]

_MODULES = {
    "Resources": "engine.resources",
    "find_centers": "planning.preview",
    "load_config": "config.file",
    "open_scan": "acquisition",
    "open_table": "store.series",
    "open_tiff_scan": "acquisition",
    "open_volume": "store.series",
    "parse_config": "config.file",
    "plan": "planning.plan",
    "preview": "planning.preview",
    "run": "pipeline",
    "simulate": "simulation.simulate",
    "view": "viewer",
    "write_report": "report",
}


if not TYPE_CHECKING:  # a checker would take every name for one that is there

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("xct-pipeline")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__} has no attribute {name}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
