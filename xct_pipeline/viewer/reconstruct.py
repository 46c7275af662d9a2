"""Dock widget: the configuration as text, checked, run, stopped, continued; the same file as the command line's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dask.utils import format_bytes
from magicgui.widgets import ComboBox, Container, PushButton, TextEdit

from xct_pipeline import pipeline
from xct_pipeline.config.edit import parse_text
from xct_pipeline.store.files import write_atomic
from xct_pipeline.viewer.panel import Panel
from xct_pipeline.viewer.running import RunControl

if TYPE_CHECKING:
    from napari import Viewer

    from xct_pipeline.config import Config


class ReconstructPanel(Panel):
    """Edit, check, run, stop, resume."""

    title = "Reconstruct"

    def __init__(self, napari_viewer: Viewer, config: Path | None = None) -> None:
        super().__init__(napari_viewer, config)
        self.text = TextEdit(label="run.toml")
        self.text.native.setLineWrapMode(self.text.native.LineWrapMode.NoWrap)
        self.text.min_height = 260
        self.until = ComboBox(label="until", choices=list(pipeline.STAGES), value=pipeline.STAGES[-1])
        self.reload, self.save = PushButton(text="Load"), PushButton(text="Save")
        self.check = PushButton(text="Check")
        self.control = RunControl(self, "Run or resume", until=lambda: str(self.until.value), ready=self.save_text)
        row = Container(widgets=[self.reload, self.save, self.check], layout="horizontal", labels=False)
        self.extend([self.text, self.until, row, self.control, self.status])
        self._checking = self.slot()
        self.file.changed.connect(self.refresh)
        self.reload.changed.connect(self.refresh)
        self.save.changed.connect(self.save_text)
        self.check.changed.connect(self.look)
        if config is not None:
            self.refresh()

    def refresh(self) -> None:
        """Show the file."""
        with self.guard():
            self.text.value = self.path.read_text(encoding="utf-8")
            self.say(f"loaded {self.path}")
            self._checking.start("check", self.say, checked, self.load(), str(self.until.value))

    def save_text(self) -> bool:
        """Write the text into the file, if it is right."""
        with self.guard():
            text = str(self.text.value)
            parse_text(text, self.path.parent, self.path.name)
            if text != self.path.read_text(encoding="utf-8"):
                write_atomic(self.path, text.encode())
            self.say(f"saved {self.path}")
            return True
        return False

    def look(self) -> None:
        """Check the text as it stands: every error at once, else what a run would take."""
        with self.guard():
            config = parse_text(str(self.text.value), self.path.parent, self.path.name)
            self._checking.start(
                "check", lambda plan: self.say(summary(plan)), pipeline.plan, config, None, self.until.value
            )


def checked(config: Config, until: str) -> str:
    """Return what a run would take, or why it cannot: told, not raised, as nobody has asked for it yet."""
    try:
        return summary(pipeline.plan(config, None, until))
    except (ValueError, OSError) as error:
        return str(error).splitlines()[0]


def summary(plan: pipeline.Plan) -> str:
    """Return a plan in a few lines."""
    lines = []
    for item in plan.scans:
        if item.taken is None:
            lines.append(f"{item.name}: {item.problem}")
            continue
        image = item.passes[-1].image
        lines.append(f"{item.name}: {' x '.join(map(str, image.shape))} {image.unit}")
        lines += [f"  {warning}" for warning in item.warnings]
    lines.append(
        f"{plan.workers} workers, peak memory {format_bytes(plan.memory_bytes)} of "
        f"{format_bytes(plan.limits.memory)}, at most {format_bytes(plan.disk_bytes)} on disk"
    )
    return "\n".join(lines)
