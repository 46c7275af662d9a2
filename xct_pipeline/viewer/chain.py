"""Dock widget: zingers, phase, stripes and the filter, each change seen in one slice before and after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, PushButton, SpinBox

from xct_pipeline.config import Config, Fourier, NoMethod
from xct_pipeline.config import Phase as PhaseUnion
from xct_pipeline.config import Stripe as StripeUnion
from xct_pipeline.config import Zinger as ZingerUnion
from xct_pipeline.config.edit import change_text, parse_text, update_config
from xct_pipeline.planning.preview import preview
from xct_pipeline.viewer.layers import diverging
from xct_pipeline.viewer.ome import contrast, signed_contrast
from xct_pipeline.viewer.panel import NameBox, Panel, placed, scan_names, set_picture, volume_image
from xct_pipeline.viewer.section import MethodEditor

if TYPE_CHECKING:
    from napari import Viewer


STEPS = {"zinger": ZingerUnion, "phase": PhaseUnion, "stripe": StripeUnion}
BEFORE, AFTER, DIFFERENCE = "chain: before", "chain: after", "chain: difference"
NOTHING, SAVED = "these steps left out", "the file as it is"


class ChainPanel(Panel):
    """Choose methods and parameters while looking at one slice."""

    title = "Stripes and phase"
    draws = "chain: "

    def __init__(self, napari_viewer: Viewer, config: Path | None = None) -> None:
        super().__init__(napari_viewer, config)
        self.scan = NameBox("scan")
        self.row = SpinBox(label="row", min=0, max=1_000_000, value=0)
        self.before = ComboBox(label="before is", choices=[NOTHING, SAVED])
        self.steps = {name: MethodEditor(name, union) for name, union in STEPS.items()}
        filters = Fourier.model_fields["filter"].annotation
        self.filter = ComboBox(label="filter", choices=list(filters.__args__ if filters else ()))
        self.live = CheckBox(label="live", value=True)
        self.write = PushButton(text="Write into the configuration")
        self.extend([self.scan, self.row, self.before])
        self.extend(list(self.steps.values()))
        self.extend([self.filter, self.live, self.write, self.status])
        self.image: Any = None
        self._work = self.slot()
        self.file.changed.connect(self.refresh)
        for widget in (self.scan, self.row, self.before, self.filter, *self.steps.values()):
            widget.changed.connect(self._changed)
        self.live.changed.connect(self._changed)
        self.write.changed.connect(self.accept)
        if config is not None:
            self.refresh()

    def refresh(self) -> None:
        """Take every parameter from the configuration."""
        with self.guard():
            config = self.load()
            self.scan.offer(scan_names(config))
            self.image = volume_image(config, str(self.scan.value))
            first = int(self.image.origin[0])
            with self.row.changed.blocked():
                self.row.min, self.row.max = first, first + self.image.shape[0] - 1
                self.row.value = first + self.image.shape[0] // 2
            for name, editor in self.steps.items():
                editor.show(getattr(config.correction, name))
            if isinstance(config.reconstruction, Fourier):
                with self.filter.changed.blocked():
                    self.filter.value = config.reconstruction.filter
            self.look()

    def changes(self) -> dict[str, Any]:
        """Return what the widget would write, and only what differs from the file."""
        saved = self.load()
        found: dict[str, Any] = {}
        for name, editor in self.steps.items():
            if editor.section() != getattr(saved.correction, name):
                found[f"correction.{name}"] = editor.table()
        if isinstance(saved.reconstruction, Fourier) and saved.reconstruction.filter != self.filter.value:
            found["reconstruction.filter"] = str(self.filter.value)
        return found

    def _changed(self) -> None:
        if self.live.value:
            self.look()

    def look(self) -> None:
        """Reconstruct the slice before and after."""
        with self.guard():
            text, folder = self.path.read_text(encoding="utf-8"), self.path.parent
            after = parse_text(change_text(text, self.changes()), folder, self.path.name)
            before = self.load() if self.before.value == SAVED else without_steps(after)
            job = (before, after, str(self.scan.value), int(self.row.value))
            self.say("computing")
            self._work.start("slice before and after", self._show, both_slices, *job)

    def _show(self, planes: tuple[Any, Any]) -> None:
        before, after = planes
        common = {**placed(self.image), "metadata": {"xct": {"unit": self.image.unit, "kind": "preview"}}}
        limits = contrast(after[abs(after) >= 0])
        change = after - before
        set_picture(self.viewer, BEFORE, before, contrast_limits=limits, **common)
        set_picture(self.viewer, AFTER, after, contrast_limits=limits, **common)
        shown = set_picture(self.viewer, DIFFERENCE, change, colormap=diverging(), **common)
        shown.contrast_limits = signed_contrast(change)
        self.say(f"root mean square of the difference {float((change**2).mean() ** 0.5):.4g} {self.image.unit}")

    def accept(self) -> None:
        """Write what was chosen."""
        with self.guard():
            changes = self.changes()
            if not changes:
                self.inform(f"{self.path.name} says so already")
                return
            update_config(self.path, changes)
            self.inform(f"wrote {', '.join(changes)} into {self.path.name}")


def without_steps(config: Config) -> Config:
    """Return a configuration without the steps of this widget."""
    none: Mapping[str, Any] = {name: NoMethod() for name in STEPS}
    return config.model_copy(update={"correction": config.correction.model_copy(update=none)})


def both_slices(before: Config, after: Config, scan: str, row: int) -> tuple[Any, Any]:
    """Return a slice reconstructed with two configurations."""
    return preview(before, row, [scan])[scan], preview(after, row, [scan])[scan]
