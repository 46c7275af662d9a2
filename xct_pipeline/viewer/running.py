"""Running the pipeline from a widget: in a thread, with progress, stopped after the shards in work, resumable."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container, ProgressBar, PushButton
from napari.qt.threading import create_worker

from xct_pipeline import pipeline
from xct_pipeline.viewer import layers
from xct_pipeline.viewer.panel import EXPECTED, Panel, Problem, raw_layers

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

    from xct_pipeline.config import Config
    from xct_pipeline.engine.execution import ShardResult


WAIT_S = 0.2


class RunControl(Container):  # type: ignore[misc]
    """Buttons that run a panel's configuration, as ``xct run`` does, and stop it.

    Parameters
    ----------
    panel : Panel
    text : str
        Of the button.
    ready : callable
        Called before a run; False keeps it from starting.
    finished : callable
        Called with the RunResult after the store's layers were put into the viewer.
    until : callable
        The last stage, None for all that are configured.
    """

    def __init__(
        self,
        panel: Panel,
        text: str,
        *,
        until: Callable[[], str | None],
        ready: Callable[[], bool] = lambda: True,
        finished: Callable[[Any], None] = lambda result: None,  # noqa: ARG005
    ) -> None:
        self.panel, self.until, self.ready, self.finished = panel, until, ready, finished
        self.run = PushButton(text=text)
        self.stop = PushButton(text="Stop", enabled=False)
        self.bar = ProgressBar(min=0, max=1, value=0, visible=False)
        super().__init__(widgets=[self.run, self.stop, self.bar], layout="horizontal", labels=False)
        self.margins = (0, 0, 0, 0)
        self.worker: Any = None
        self._halt = threading.Event()
        self.native.destroyed.connect(self._halt.set)
        self.run.changed.connect(self.start)
        self.stop.changed.connect(self.halt)

    def start(self) -> None:
        """Run; finished work is never repeated."""
        if self.worker is not None or not self.ready():
            return
        with self.panel.guard():
            config = self.panel.load()
            self._halt.clear()
            worker = create_worker(
                run_in_steps,
                config,
                self.until(),
                self._halt,
                _start_thread=False,
                _progress={"desc": f"xct run {self.panel.path.name}"},
            )
            worker.yielded.connect(self._step)
            worker.returned.connect(self._end)
            worker.errored.connect(lambda error: self._end(Problem(error)))
            worker.aborted.connect(self._end)
            self.worker = worker
            self.stop.enabled, self.run.enabled, self.bar.visible = True, False, True
            self.panel.say("running")
            worker.start()

    def halt(self) -> None:
        """Stop after the shards in work; what is finished stays."""
        self._halt.set()
        self.panel.say("stopping after the shards in work")

    def _step(self, step: str | tuple[str, int, int] | None) -> None:
        if self.panel.closed or step is None:
            return
        if isinstance(step, str):
            self.panel.say(step)
            return
        name, done, total = step
        self.bar.max, self.bar.value = total, done
        self.panel.say(f"{name}: {done} of {total} shards")

    def _end(self, result: pipeline.RunResult | Problem | None = None) -> None:
        self.worker = None
        if self.panel.closed:
            return
        self.stop.enabled, self.run.enabled, self.bar.visible = False, True, False
        if isinstance(result, Problem):
            self.panel.fail(result.error)
        elif result is None:
            self.panel.inform("stopped; run again to go on where this ended")
        else:
            with self.panel.guard():
                self._show(result)

    def _show(self, result: pipeline.RunResult) -> None:
        show_store(self.panel.viewer, result.store.path)
        self.finished(result)
        if result.failed:
            problems = "\n".join(f"{scan.name}: {scan.problem}" for scan in result.failed)
            self.panel.fail(RuntimeError(f"{len(result.failed)} of {len(result.scans)} scans failed\n{problems}"))
        else:
            self.panel.inform(f"finished: {result.store.path}")


def show_store(viewer: Viewer, path: Path) -> None:
    """Put a store's images into the viewer, replacing those shown from it before."""
    from napari.layers import Layer

    for layer in raw_layers(viewer):  # in pixels and angles, which do not go with micrometres
        viewer.layers.remove(layer)
    shown = {layer.name: layer for layer in viewer.layers if _of_store(layer, path)}
    for data, keywords, kind in layers.store_layers(path):
        old = shown.pop(keywords["name"], None)
        if old is not None:
            keywords["visible"] = old.visible
            viewer.layers.remove(old)
        viewer.add_layer(Layer.create(data, keywords, kind))


def _of_store(layer: Layer, path: Path) -> bool:
    return str(layer.metadata.get("xct", {}).get("store", "")) == str(path)


class _Stopped(Exception):
    """The user wants the run to end."""


class RunThread(threading.Thread):
    """A run of the pipeline, which tells what it does and ends after the shards in work when it is halted.

    Attributes
    ----------
    halt : threading.Event
    messages : queue.Queue
        Sentences, (image, done, total), and at last an `_End`.
    """

    def __init__(self, config: Config, until: str | None, halt: threading.Event) -> None:
        super().__init__(daemon=True, name="xct run")
        self.config, self.until, self.halt = config, until, halt
        self.messages: queue.Queue[Any] = queue.Queue()

    def run(self) -> None:
        """Run the pipeline; whatever happens is the last message."""
        result: Any = None
        try:
            result = pipeline.run(pipeline.plan(self.config, until=self.until), self._progress, note=self._note)
        except _Stopped:
            result = None
        except EXPECTED as error:
            result = Problem(error)
        except BaseException as error:  # told by the widget; a thread would only print it
            result = Problem(RuntimeError(f"{type(error).__name__}: {error}"))
        self.messages.put(_End(result))

    def _progress(self, result: ShardResult, done: int, total: int) -> None:
        self._note((result.name, done, total))

    def _note(self, message: object) -> None:
        if self.halt.is_set():
            raise _Stopped
        self.messages.put(message)


def run_in_steps(config: Config, until: str | None, halt: threading.Event) -> Generator[Any, None, Any]:
    """Run the pipeline, yielding sentences and (image, done, total), and nothing now and then.

    Leaving the iterator, or setting `halt`, ends the run after the shards in work.

    Returns
    -------
    RunResult, Problem, or None where the run was stopped.
    """
    thread = RunThread(config, until, halt)
    thread.start()
    try:
        while True:
            try:
                message = thread.messages.get(timeout=WAIT_S)
            except queue.Empty:
                message = None
            if isinstance(message, _End):
                return message.result
            yield message
    finally:
        halt.set()
        thread.join()


def finish_work() -> None:
    """End everything that works for a window: a thread that outlives Qt's objects would end the process."""
    from superqt.utils import WorkerBase

    runs = [thread for thread in threading.enumerate() if isinstance(thread, RunThread)]
    for thread in runs:
        thread.halt.set()
    WorkerBase.await_workers()
    for thread in runs:
        thread.join()


class _End:
    """The last message of a run."""

    def __init__(self, result: object) -> None:
        self.result = result
