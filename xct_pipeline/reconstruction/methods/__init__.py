"""Methods of reconstruction: one file each, with its kernel (or the call of one) and what planning has to know of it.

A file of this folder that defines ``METHOD`` is a method; nothing else lists them but the model of its options in the
configuration.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import MappingProxyType

from xct_pipeline.reconstruction.methods.common import Method, MissingMethod, View

__all__ = ["METHODS", "Method", "MissingMethod", "View"]


def _found() -> dict[str, Method]:
    """Return the methods of this folder by name."""
    modules = [importlib.import_module(f"{__name__}.{item.name}") for item in pkgutil.iter_modules(__path__)]
    found: list[Method] = [module.METHOD for module in modules if hasattr(module, "METHOD")]
    return {method.name: method for method in found}


METHODS = MappingProxyType(_found())
"""Every method by the name that the configuration gives it."""
