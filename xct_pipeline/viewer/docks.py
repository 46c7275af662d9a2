"""Which widgets a window gets, and the configuration they start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xct_pipeline.viewer.center import CenterPanel
from xct_pipeline.viewer.chain import ChainPanel
from xct_pipeline.viewer.panel import Panel
from xct_pipeline.viewer.reconstruct import ReconstructPanel

PANELS: tuple[type[Panel], ...] = (CenterPanel, ChainPanel, ReconstructPanel)


def dock_all(viewer: Any, path: Path) -> dict[str, Panel]:
    """Dock the widgets in tabs at the right; the last one that was looked at is left to the user."""
    config = find_config(path)
    panels: dict[str, Panel] = {}
    for kind in PANELS:
        panel = kind(viewer, config if kind is ReconstructPanel else None)
        if config is not None and kind is not ReconstructPanel:
            with panel.file.changed.blocked():
                panel.file.value = config
        viewer.window.add_dock_widget(panel, name=kind.title, area="right", tabify=bool(panels))
        panels[kind.title] = panel
    return panels


def find_config(path: Path) -> Path | None:
    """Return the configuration that belongs to a path: itself, or the one beside a store that writes it."""
    from xct_pipeline.config_file import ConfigError, load_config

    if path.suffix == ".toml":
        return path
    for file in sorted(path.resolve().parent.glob("*.toml")):
        try:
            if load_config(file).store_path == path.resolve():
                return file
        except ConfigError:
            continue
    return None
