"""A tiny simulated series and its stores, run and ruined in forked children of a process with compiled kernels."""

from __future__ import annotations

import functools
import os
import random
import re
import resource
import select
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xct_pipeline import demo, pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.resources import Resources
from xct_pipeline.report import is_current, write_report
from xct_pipeline.store.files import RefusedError, StoreError, out_of_memory
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.store.verify import image_paths, repair, verify

STAGES = ("reconstruction", "registration", "segmentation", "variation")
KILLED, STRANGE, WITHHELD, TIMED = 9, 70, 71, -signal.SIGPROF
NO_DATA = {"lock", "lock.json", "run.log"}  # of no content: a flip in them harms nothing


@dataclass
class Bench:
    """Raw scans, and what an undisturbed run makes of them."""

    folder: Path
    scans: int = 3
    known: dict[Any, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        demo.simulate_folder(self.folder / "cell", scans=self.scans, columns=64, rows=32, angles=25)

    def raw(self, k: int) -> Path:
        return self.folder / "cell" / f"scan_{k:02d}.nxs"

    def configure(self, folder: Path, scans: Sequence[int], window: str, exclude: Sequence[str] = ()) -> Path:
        """Link raw scans into a folder and write a configuration for them."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.nxs"):
            file.unlink()
        for k in scans:
            os.link(self.raw(k), folder / f"scan_{k:02d}.nxs")
        for file in (self.folder / "cell").glob("*.csv"):
            if not (folder / file.name).exists():
                os.link(file, folder / file.name)
        text = (self.folder / "cell" / "run.toml").read_text()
        text = text.replace('center = "auto"', f'center = "auto"\nfilter = "{window}"')
        text = text.split("[[electrochemistry.impedance]]")[0]  # its spectra belong to scans that come and go
        text = text.replace('scans = ["scan_*.nxs"]', f'scans = ["scan_*.nxs"]\nexclude = {list(exclude)}')
        (folder / "run.toml").write_text(text)
        return folder / "run.toml"

    def undisturbed(self, scans: Sequence[int], window: str, until: str) -> Path:
        """Return a store that was run once and never touched."""
        key = (tuple(scans), window, until)
        if key not in self.known:
            folder = self.folder / f"whole_{len(self.known)}"
            config = self.configure(folder, scans, window)
            code, text = in_child(lambda: run(config, until, 2, "4GB", report=True))
            assert code == 0, text
            self.known[key] = folder / "store.zarr"
        return self.known[key]


def run(config: Path, until: str, workers: int, memory: str, report: bool = False) -> int:
    """Run the pipeline to a stage, as the command does; return its exit code.

    The report, which takes longer than all stages of so small a series, is drawn where it is asked for.
    """
    limits = Resources(workers, int(float(memory.removesuffix("GB")) * 10**9))
    result = pipeline.run(pipeline.plan(load_config(config), limits, until))
    if report and not (result.unchanged and is_current(result.store.path)):
        write_report(result.store.path)
    return 3 if result.failed else 0


def in_child(
    function: Callable[[], int | None],
    deaths: int | None = None,
    late: bool = False,
    seconds: float = 0.0,
    patience: float | None = None,
) -> tuple[int, str]:
    """Call a function in a forked child; return its exit code and what it died of.

    With `deaths`, the child is ended, as by ``kill -9``, in place of its so many-th renaming of a written file, or
    `late`, just after it; with `seconds`, after so much processor time, wherever it then is; with `patience`, by a kill
    after so many seconds.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code, text = STRANGE, ""
        try:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            if deaths is not None:
                _die_at(deaths, late)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends a process at once, as kill -9 does
            signal.setitimer(signal.ITIMER_PROF, seconds)
            code = function() or 0
        except RefusedError as error:
            code, text = 2, str(error)
        except (ValueError, StoreError) as error:
            code, text = 1, str(error)
        except OSError as error:  # told by the command in one line as well
            code, text = WITHHELD, str(error)
        except BaseException as error:
            if out_of_memory(error):
                os._exit(WITHHELD)
            text = traceback.format_exc()
        finally:
            os.write(writing, text[-9000:].encode())
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        if not select.select([pipe], [], [], patience)[0]:
            os.kill(child, signal.SIGKILL)
        text = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def _die_at(count: int, late: bool) -> None:
    real, left = os.replace, [count]

    def replace(*args: Any, **kwargs: Any) -> None:
        left[0] -= 1
        if left[0] <= 0 and not late:
            os._exit(KILLED)
        real(*args, **kwargs)
        if left[0] <= 0:
            os._exit(KILLED)

    os.replace = replace


def refuse_writes(number: int, after: int) -> None:
    """Let every creation of a file fail after so many, with the error of a full disk or the like."""
    real, left = tempfile.mkstemp, [after]

    def mkstemp(*args: Any, **kwargs: Any) -> tuple[int, str]:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    tempfile.mkstemp = mkstemp  # type: ignore[assignment]


def limit_memory(more: int) -> None:
    """Let this process have so many bytes more than it has, as ``ulimit -v`` does."""
    have = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (have + more, have + more))


def content(store: Path) -> dict[str, Any]:
    """Return the bytes of every shard, and the tables without times."""
    found: dict[str, Any] = {}
    for path in image_paths(store):
        for file in sorted((store / path).glob("[0-9]/c/**/*")):
            if file.is_file():
                found[file.relative_to(store).as_posix()] = file.read_bytes()
    for file in sorted((store / "tables").glob("*.csv")):
        table = pd.read_csv(file)
        found[file.name] = table.drop(columns=[c for c in table if c == "seconds"]).to_csv()
    return found


def assert_like(store: Path, whole: Path) -> None:
    """Everything that an undisturbed run made is there, byte for byte (other stages may have made more)."""
    mine, theirs = content(store), content(whole)
    wrong = sorted(name for name in theirs if mine.get(name) != theirs[name])
    assert not wrong, f"{len(wrong)} of {len(theirs)} differ: {wrong[:5]}"


def files_of(store: Path) -> list[Path]:
    """Return all files of a store that hold content."""
    return sorted(f for f in store.rglob("*") if f.is_file() and f.name not in NO_DATA)


def shards_of(store: Path) -> list[Path]:
    return [f for f in files_of(store) if re.search(r"/\d/c/", f.as_posix())]


def flip(file: Path, draw: random.Random, keep_time: bool = False) -> None:
    """Flip one bit of a file, as a disk may."""
    data, status = bytearray(file.read_bytes()), file.stat()
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.unlink()  # not the linked original of a copy
    file.write_bytes(bytes(data))
    if keep_time:
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def read_everything(store: Path) -> dict[str, np.ndarray]:
    """Return what each level of each image reads as; those that are an error instead are left out."""
    values = {}
    for path in image_paths(store):
        for level in sorted(p for p in (store / path).glob("[0-9]")):
            try:
                values[f"{path}/{level.name}"] = StoredArray(level)[...]
            except StoreError:
                continue
    return values


_everything = functools.cache(read_everything)  # of stores that nobody touches


def assert_right_or_error(store: Path, wholes: Sequence[Path]) -> None:
    """What can be read of a store is what one of the undisturbed runs wrote."""
    right = [_everything(whole) for whole in wholes]
    for key, values in read_everything(store).items():
        known = [other[key] for other in right if key in other]
        assert any(np.array_equal(values, other, equal_nan=True) for other in known), f"{key} reads as something else"


def mend(store: Path) -> int:
    """Verify and repair; return how much is left that cannot be."""
    there = Store(store)
    if not there.exists():
        return 0
    with there.lock():
        return len(repair(there, verify(there).problems))


def copy_store(source: Path, target: Path) -> None:
    """Copy a folder with its times, its raw scans linked."""
    shutil.copytree(
        source, target, copy_function=lambda a, b: os.link(a, b) if a.endswith(".nxs") else shutil.copy2(a, b)
    )
