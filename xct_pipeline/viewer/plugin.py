"""What napari's plugin manifest names: reader, sample data, the view of raw scans."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xct_pipeline.store.layout import STATE
from xct_pipeline.viewer import layers

Layer = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[Any], list[Layer]] | None:
    """Return a reader of `path`, None where the path is not ours.

    Directories are ours when they hold zarr metadata, HDF5 files when they open as a scan, ``.toml`` always.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return read_all if paths and all(_ours(Path(p)) for p in paths) else None


def _ours(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).exists() for name in ("zarr.json", ".zattrs", ".zgroup", STATE))
    if path.suffix.lower() == ".toml":
        return True
    from xct_pipeline.acquisition.formats import SUFFIXES  # opens HDF5 libraries, which a store does not need

    return path.suffix.lower() in SUFFIXES and path.is_file()


def read_all(path: str | list[str]) -> list[Layer]:
    """Return the layers of one path or several.

    Raises
    ------
    StoreError, ScanError, ConfigError
        In one sentence that napari shows.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [layer for one in paths for layer in layers.read(one)]


def demo_folder() -> Path:
    """Return where the demonstration is kept between sessions."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "xct-pipeline" / "demo"


def demo_layers() -> list[Layer]:
    """Return the demonstration's store; where it has to be computed first, it appears when it is ready."""
    from napari import current_viewer

    folder = demo_folder()
    viewer = current_viewer()
    if (folder / "store.zarr" / "tables" / "reconstruction.csv").exists() or viewer is None:
        return make_demo(folder)
    from napari.qt.threading import create_worker
    from napari.utils.notifications import show_info

    from xct_pipeline.viewer.window import fill

    show_info("simulating a cell and running the pipeline on it; it appears here in a minute")
    create_worker(
        make_demo, folder, _progress={"desc": "demonstration"}, _connect={"returned": lambda found: fill(viewer, found)}
    )
    return []


def make_demo(folder: Path) -> list[Layer]:
    """Simulate and run the demonstration, or go on with what is there, and return its layers."""
    from xct_pipeline.demo import run_demo
    from xct_pipeline.report import write_report

    if not (folder / "store.zarr" / "tables" / "reconstruction.csv").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_report(run_demo(folder).store.path)
    return layers.store_layers(folder / "store.zarr")


def sinogram_widget(napari_viewer: Any = None) -> Any:
    """Return a switch between projections and sinograms of the raw scans in the viewer."""
    from magicgui.widgets import Container, RadioButtons
    from napari import current_viewer
    from napari.utils.notifications import show_error

    from xct_pipeline.viewer.raw import sinogram_view

    choice = RadioButtons(choices=["projections", "sinograms"], value="projections", label="raw scan")
    shown = ["projections"]

    def switch(value: str) -> None:
        if value == shown[0]:  # napari asks for the choices again whenever layers change
            return
        shown[0] = value
        try:
            sinogram_view(napari_viewer or current_viewer(), value == "sinograms")
        except ValueError as error:
            show_error(str(error))

    choice.changed.connect(switch)
    return Container(widgets=[choice])
