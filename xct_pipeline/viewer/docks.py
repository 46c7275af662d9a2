"""Which widgets a window gets, and the configuration they start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xct_pipeline.viewer.center import CenterPanel
from xct_pipeline.viewer.chain import ChainPanel
from xct_pipeline.viewer.echem import EchemPanel
from xct_pipeline.viewer.mass import MassPanel
from xct_pipeline.viewer.panel import Panel
from xct_pipeline.viewer.reconstruct import ReconstructPanel
from xct_pipeline.viewer.register import RegisterPanel
from xct_pipeline.viewer.segment import SegmentPanel

if TYPE_CHECKING:
    from napari import Viewer


PANELS: tuple[type[Panel], ...] = (
    CenterPanel,
    ChainPanel,
    ReconstructPanel,
    RegisterPanel,
    SegmentPanel,
    MassPanel,
    EchemPanel,
)


def dock_all(viewer: Viewer, path: Path) -> dict[str, Panel]:
    """Dock the widgets in tabs at the right; each reads its configuration when it is first looked at."""
    config = find_config(path)
    panels: dict[str, Panel] = {}
    docks: dict[str, Any] = {}
    for kind in PANELS:
        panel = kind(viewer)
        if config is not None:
            with panel.file.changed.blocked():
                panel.file.value = config
        docks[kind.title] = viewer.window.add_dock_widget(panel, name=kind.title, area="right", tabify=bool(panels))
        panels[kind.title] = panel
        docks[kind.title].visibilityChanged.connect(panel.looked_at)
    _names_along_the_edge(viewer)
    if config is not None:
        docks[ReconstructPanel.title].raise_()
        panels[ReconstructPanel.title].refresh()
        for title, panel in panels.items():
            if title != ReconstructPanel.title:
                _refresh_once(docks[title], panel)
    return panels


def _names_along_the_edge(viewer: Viewer) -> None:
    """Put the names of the tabs one below the other: side by side they would be cut to two letters."""
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QTabWidget

    window = viewer.window._qt_window  # napari offers no other way to its docks
    window.setTabPosition(Qt.DockWidgetArea.RightDockWidgetArea, QTabWidget.TabPosition.East)


def _refresh_once(dock: Any, panel: Panel) -> None:
    waiting = [panel]

    def shown(visible: bool) -> None:
        if visible and waiting:
            waiting.pop().refresh()

    dock.visibilityChanged.connect(shown)


def find_config(path: Path) -> Path | None:
    """Return the configuration that belongs to a path: itself, or the one beside a store that writes it."""
    from xct_pipeline.config.file import ConfigError, load_config

    if path.suffix == ".toml":
        return path
    for file in sorted(path.resolve().parent.glob("*.toml")):
        try:
            if load_config(file).store_path == path.resolve():
                return file
        except ConfigError:
            continue
    return None
