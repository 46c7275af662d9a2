"""The import contract of kernels, run by ``lint-imports``: a stage's files that are not among its steps."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output

STAGES = (
    "acquisition",
    "correction",
    "reconstruction",
    "registration",
    "segmentation",
    "electrochemistry",
    "variation",
)
SCHEDULERS = ("dask", "distributed", "zarr")
SHARED = tuple(
    f"xct_pipeline.{name}"
    for name in ("scan", "device", "smoothing", "boxes", "names", "inputs", "compiled", "threads", "tabulated")
)


def folder_of(module: str) -> str | None:
    """Return the stage that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "xct_pipeline" and parts[1] in STAGES else None


def is_kernel(module: str) -> bool:
    """Tell whether a module is a kernel's: in a stage's folder, and not among its steps."""
    parts = module.split(".")
    return folder_of(module) is not None and len(parts) > 2 and parts[2] != "steps"


def allowed(kernel: str, imported: str) -> bool:
    """Tell whether a kernel may import a module."""
    if not imported.startswith("xct_pipeline"):
        return imported.split(".")[0] not in SCHEDULERS
    return imported in SHARED or (is_kernel(imported) and folder_of(imported) == folder_of(kernel))


class KernelContract(Contract):
    """A kernel imports what is SHARED and kernels beside it; no scheduler, store, configuration or stage."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Look at what every kernel imports."""
        wrong = sorted(
            (kernel, imported)
            for kernel in filter(is_kernel, graph.modules)
            for imported in graph.find_modules_directly_imported_by(kernel)
            if not allowed(kernel, imported)
        )
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print what to move."""
        for kernel, imported in check.metadata["wrong"]:
            output.print_error(f"{kernel} imports {imported}: move that to its folder's steps")
