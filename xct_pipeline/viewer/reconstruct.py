"""Dock widget: the configuration as text, checked, run, stopped, continued; the same file as the command line's."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, Container, ProgressBar, PushButton, TextEdit
from napari.qt.threading import create_worker

from xct_pipeline import pipeline
from xct_pipeline.config_edit import parse_text
from xct_pipeline.resources import format_bytes
from xct_pipeline.store import write_atomic
from xct_pipeline.viewer import layers
from xct_pipeline.viewer.panel import EXPECTED, Panel, Problem, raw_layers

WAIT_S = 0.2


class ReconstructPanel(Panel):
    """Edit, check, run, stop, resume."""

    title = "Reconstruct"

    def __init__(self, napari_viewer: Any, config: Path | None = None) -> None:
        super().__init__(napari_viewer, config)
        self.text = TextEdit(label="run.toml")
        self.text.native.setLineWrapMode(self.text.native.LineWrapMode.NoWrap)
        self.text.min_height = 260
        self.until = ComboBox(label="until", choices=list(pipeline.STAGES), value=pipeline.STAGES[-1])
        self.reload, self.save = PushButton(text="Load"), PushButton(text="Save")
        self.check, self.run = PushButton(text="Check"), PushButton(text="Run or resume")
        self.stop = PushButton(text="Stop", enabled=False)
        self.progress = ProgressBar(min=0, max=1, value=0, visible=False)
        row = Container(widgets=[self.reload, self.save, self.check], layout="horizontal", labels=False)
        second = Container(widgets=[self.run, self.stop], layout="horizontal", labels=False)
        self.extend([self.text, self.until, row, second, self.progress, self.status])
        self.worker: Any = None
        self._halt = threading.Event()
        self._checking = self.slot()
        self.file.changed.connect(self.load_text)
        self.reload.changed.connect(self.load_text)
        self.save.changed.connect(self.save_text)
        self.check.changed.connect(self.look)
        self.run.changed.connect(self.start)
        self.stop.changed.connect(self.halt)
        if config is not None:
            self.load_text()

    def _close(self) -> None:
        super()._close()
        self._halt.set()

    def load_text(self) -> None:
        """Show the file."""
        with self.guard():
            self.text.value = self.path.read_text(encoding="utf-8")
            self.say(f"loaded {self.path}")

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

    def start(self) -> None:
        """Save and run; finished work is never repeated."""
        if self.worker is not None or not self.save_text():
            return
        with self.guard():
            config = self.load()
            self._halt.clear()
            worker = create_worker(
                run_in_steps, config, str(self.until.value), self._halt, _start_thread=False,
                _progress={"desc": f"xct run {self.path.name}"},
            )  # fmt: skip
            worker.yielded.connect(self._step)
            worker.returned.connect(self._end)
            worker.errored.connect(lambda error: self._end(Problem(error)))
            worker.aborted.connect(self._end)
            self.worker = worker
            self.stop.enabled, self.run.enabled = True, False
            self.progress.visible = True
            self.say("running")
            worker.start()

    def halt(self) -> None:
        """Stop after the shards in work; what is finished stays."""
        self._halt.set()
        self.say("stopping after the shards in work")

    def _step(self, step: Any) -> None:
        if self.closed or step is None:
            return
        if isinstance(step, str):
            self.say(step)
            return
        name, done, total = step
        self.progress.max, self.progress.value = total, done
        self.say(f"{name}: {done} of {total} shards")

    def _end(self, result: Any = None) -> None:
        self.worker = None
        if self.closed:
            return
        self.stop.enabled, self.run.enabled, self.progress.visible = False, True, False
        if isinstance(result, Problem):
            self.fail(result.error)
        elif result is None:
            self.inform("stopped; run again to go on where this ended")
        else:
            with self.guard():
                self._finished(result)

    def _finished(self, result: pipeline.RunResult) -> None:
        self.show_store(result.store.path)
        if result.failed:
            problems = "\n".join(f"{scan.name}: {scan.problem}" for scan in result.failed)
            self.fail(RuntimeError(f"{len(result.failed)} of {len(result.scans)} scans failed\n{problems}"))
        else:
            self.inform(f"finished: {result.store.path}")

    def show_store(self, path: Path) -> None:
        """Put the store's images into the viewer, replacing those shown from it before."""
        from napari.layers import Layer

        for layer in raw_layers(self.viewer):  # in pixels and angles, which do not go with micrometres
            self.viewer.layers.remove(layer)
        shown = {layer.name: layer for layer in self.viewer.layers if _of_store(layer, path)}
        for data, keywords, kind in layers.store_layers(path):
            old = shown.pop(keywords["name"], None)
            if old is not None:
                keywords["visible"] = old.visible
                self.viewer.layers.remove(old)
            self.viewer.add_layer(Layer.create(data, keywords, kind))


def _of_store(layer: Any, path: Path) -> bool:
    return str(layer.metadata.get("xct", {}).get("store", "")) == str(path)


class _Stopped(Exception):
    """The user wants the run to end."""


def run_in_steps(config: Any, until: str, halt: threading.Event) -> Iterator[Any]:
    """Run the pipeline, yielding sentences and (image, done, total), and nothing now and then.

    Leaving the iterator, or setting `halt`, ends the run after the shards in work.

    Returns
    -------
    RunResult, Problem, or None where the run was stopped.
    """
    messages: queue.Queue[Any] = queue.Queue()

    def progress(result: Any, done: int, total: int) -> None:
        if halt.is_set():
            raise _Stopped
        messages.put((result.name, done, total))

    def note(text: str) -> None:
        if halt.is_set():
            raise _Stopped
        messages.put(text)

    def work() -> None:
        result: Any = None
        try:
            result = pipeline.run(pipeline.plan(config, until=until), progress, note=note)
        except _Stopped:
            result = None
        except EXPECTED as error:
            result = Problem(error)
        except BaseException as error:  # told by the widget; a thread would only print it
            result = Problem(RuntimeError(f"{type(error).__name__}: {error}"))
        messages.put(_End(result))

    thread = threading.Thread(target=work, daemon=True, name="xct run")
    thread.start()
    try:
        while True:
            try:
                message = messages.get(timeout=WAIT_S)
            except queue.Empty:
                message = None
            if isinstance(message, _End):
                return message.result
            yield message
    finally:
        halt.set()
        thread.join()


class _End:
    """The last message of a run."""

    def __init__(self, result: Any) -> None:
        self.result = result


def summary(plan: pipeline.Plan) -> str:
    """Return a plan in a few lines."""
    from xct_pipeline.show import predicted_memory

    lines = []
    for item in plan.scans:
        if item.scan is None:
            lines.append(f"{item.name}: {item.problem}")
            continue
        image = item.passes[-1].image
        lines.append(f"{item.name}: {' x '.join(map(str, image.shape))} {image.unit}")
        lines += [f"  {warning}" for warning in item.warnings]
    lines.append(
        f"{plan.workers} workers, peak memory {format_bytes(predicted_memory(plan))} of "
        f"{format_bytes(plan.limits.memory)}, at most {format_bytes(plan.disk_bytes)} on disk"
    )
    return "\n".join(lines)
