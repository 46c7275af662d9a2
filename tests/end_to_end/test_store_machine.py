"""A store that is run, killed, ruined, read and mended in any order: what is read of it is right, or an error."""

from __future__ import annotations

import errno
import functools
import itertools
import os
import random
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import store_bench
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from store_bench import STAGES, STRANGE, Bench, assert_like, assert_right_or_error, copy_store, flip, in_child

from xct_pipeline import demo
from xct_pipeline.report import write_report
from xct_pipeline.store.export import export_store
from xct_pipeline.store.store import Store
from xct_pipeline.store.verify import verify

WINDOWS = ("ram-lak", "hann")
SIZES = ("2GB", "3GB", "8GB")
WITHHOLDING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)

SOAK = int(os.environ.get("XCT_SOAK", "0"))  # in tenths of what a release is put through; hours
soak = pytest.mark.skipif(not SOAK, reason="takes hours: set XCT_SOAK=10, or 1 for a tenth of it")


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("bench"))
    config = made.configure(made.folder / "warm", (0, 1), "ram-lak")
    # what children inherit compiled and imported; to the end only where there are many of them
    store_bench.run(config, STAGES[-1] if SOAK else STAGES[0], 1, "4GB", report=True)
    assert not verify(Store(config.with_name("store.zarr"))).problems
    for format in ("tiff", "hdf5"):
        exported(config.with_name("store.zarr"), format, made.folder / "exported")
    return made


def machine_of(bench: Bench, until: str, folder: Path, done: Counter[str]) -> type[RuleBasedStateMachine]:
    """Return the machine over stores of one series, run up to a stage; steps are counted in `done` and printed."""
    stages = STAGES[: STAGES.index(until) + 1]

    def step(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def counted(machine: Machine, **drawn: Any) -> None:
            done[function.__name__] += 1
            print(f"{sum(done.values())} {machine.folder.name} {function.__name__} {drawn}", flush=True)
            function(machine, **drawn)

        return counted

    numbers = itertools.count()

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = folder / f"store_{next(numbers)}"
            self.store = self.folder / "store.zarr"
            self.scans, self.window, self.taken = [0, 1], "ram-lak", set[int]()
            self.unsure = False  # the store may have lost what it knew: metadata were ruined

        def whole(self, until: str) -> Path:
            return bench.undisturbed(tuple(self.scans), self.window, until)

        def go(self, until: str, workers: int, memory: str, deaths: int | None = None) -> tuple[int, str]:
            config = bench.configure(self.folder, self.scans, self.window)
            ended = in_child(lambda: store_bench.run(config, until, workers, memory), deaths)
            assert ended[0] != STRANGE, ended[1]
            assert "\n" not in ended[1]
            return ended

        def missing(self) -> set[int]:
            return self.taken - set(self.scans)

        @initialize(until=st.sampled_from(stages), workers=st.integers(1, 4), memory=st.sampled_from(SIZES))
        def begin(self, until: str, workers: int, memory: str) -> None:
            self.proceed(until, workers, memory)

        @rule(until=st.sampled_from(stages), workers=st.integers(1, 4), memory=st.sampled_from(SIZES))
        @step
        def run(self, until: str, workers: int, memory: str) -> None:
            self.proceed(until, workers, memory)

        def proceed(self, until: str, workers: int, memory: str) -> None:
            code, text = self.go(until, workers, memory)
            if code == 0:
                self.taken |= set(self.scans)
                assert_like(self.store, self.whole(until))
            elif self.missing() and not self.unsure:
                assert code == 2
                assert any(f"scan_{k:02d}" in text for k in self.missing())
            else:
                assert self.unsure, text  # one line that says so, and what to type; mended below

        @rule(
            deaths=st.integers(1, 30 if until == STAGES[0] else 90),
            workers=st.integers(1, 4),
            memory=st.sampled_from(SIZES),
        )
        @step
        def kill(self, deaths: int, workers: int, memory: str) -> None:
            code, text = self.go(until, workers, memory, deaths)
            assert code in (0, store_bench.KILLED) or self.missing() or self.unsure, text
            if code in (0, store_bench.KILLED) and (self.store / "zarr.json").exists():
                self.taken |= set(self.scans)

        def trouble(self, cause: Callable[[], None], workers: int) -> None:
            """Run while something is withheld: what is done is not lost, and it ends as a run or as an error does."""
            config = bench.configure(self.folder, self.scans, self.window)

            def work() -> int:
                cause()
                return store_bench.run(config, until, workers, "4GB")

            code, text = in_child(work)
            assert code != STRANGE or not text, text  # without memory not even a reason can be told
            if code in (0, store_bench.WITHHELD) and (self.store / "zarr.json").exists():
                self.taken |= set(self.scans)

        @rule(number=st.sampled_from(WITHHOLDING), after=st.integers(0, 60), workers=st.integers(1, 4))
        @step
        def withhold(self, number: int, after: int, workers: int) -> None:
            """The disk is full, read-only, or permissions are withdrawn."""
            self.trouble(lambda: store_bench.refuse_writes(number, after), workers)

        @rule(mib=st.integers(0, 400), workers=st.integers(1, 4))
        @step
        def starve(self, mib: int, workers: int) -> None:
            """``ulimit -v``."""
            self.trouble(lambda: store_bench.limit_memory(mib * 2**20), workers)

        @precondition(lambda self: self.store.exists())
        @rule()
        @step
        def move(self) -> None:
            """The store becomes a symbolic link to somewhere else, or comes back from there."""
            other = self.folder / "elsewhere.zarr"
            if self.store.is_symlink():
                self.store.unlink()
                other.rename(self.store)
            else:
                self.store.rename(other)
                self.store.symlink_to(other)

        @precondition(lambda self: self.store.exists())
        @rule(draw=st.integers(0, 2**32), how=st.sampled_from(["flip", "truncate", "delete", "swap", "copy"]))
        @step
        def ruin(self, draw: int, how: str) -> None:
            chance = random.Random(draw)
            file = chance.choice(store_bench.files_of(self.store) or [self.store])
            if file == self.store:
                return
            self.unsure = self.unsure or file.name in ("zarr.json", "store.json")
            if how == "flip":
                flip(file, chance)
            elif how == "truncate":
                file.write_bytes(file.read_bytes()[: chance.randrange(file.stat().st_size + 1)])
            elif how == "delete":
                file.unlink()
            elif how == "swap":
                other = chance.choice(store_bench.shards_of(self.store) or [file])
                data = other.read_bytes(), file.read_bytes()
                file.write_bytes(data[0])
                other.write_bytes(data[1])
            else:
                from_ = bench.undisturbed((0, 1), chance.choice(WINDOWS), until) / file.relative_to(self.store)
                if from_.exists():
                    shutil.copy2(from_, file)

        @rule(window=st.sampled_from(WINDOWS), until=st.sampled_from(stages), workers=st.integers(1, 4))
        @step
        def change(self, window: str, until: str, workers: int) -> None:
            self.window = window
            self.proceed(until, workers, "3GB")

        @precondition(lambda self: len(self.scans) < bench.scans)
        @rule(until=st.sampled_from(stages), workers=st.integers(1, 4))
        @step
        def take_in(self, until: str, workers: int) -> None:
            self.scans = sorted({*self.scans, min({*range(bench.scans)} - {*self.scans})})
            self.proceed(until, workers, "3GB")

        @precondition(lambda self: len(self.scans) > 1)
        @rule(k=st.integers(1, 2), until=st.sampled_from(stages))
        @step
        def leave_out(self, k: int, until: str) -> None:
            self.scans = [scan for scan in self.scans if scan != k]
            self.proceed(until, 2, "3GB")

        @precondition(lambda self: self.missing() and not self.unsure and Store(self.store).exists())
        @rule()
        @step
        def forget(self) -> None:
            name = f"scan_{min(self.missing()):02d}"

            def work() -> None:
                with Store(self.store).lock():
                    Store(self.store).forget(name)

            code, text = in_child(work)
            assert code == 0, text
            self.taken.discard(min(self.missing()))

        @precondition(lambda self: Store(self.store).exists())
        @rule(seconds=st.floats(0.01, 4))
        @step
        def draw(self, seconds: float) -> None:
            """Draw the report, which may be killed, and may find what it needs missing or ruined."""
            code, text = in_child(lambda: write_report(self.store) and None, seconds=seconds)
            assert code in (0, 1, store_bench.TIMED), text

        @rule()
        @step
        def check(self) -> None:
            def work() -> None:
                if Store(self.store).exists():
                    verify(Store(self.store))

            code, text = in_child(work)
            assert code in (0, 1), text

        @rule(until=st.sampled_from(stages), workers=st.integers(1, 4))
        @step
        def heal(self, until: str, workers: int) -> None:
            code, text = in_child(lambda: store_bench.mend(self.store))
            assert code == 0, text
            self.scans = sorted({*self.scans, *self.taken})
            code, text = self.go(until, workers, "4GB")
            assert code == 0, text
            self.taken |= set(self.scans)
            self.unsure = False
            assert_like(self.store, self.whole(until))
            if until == stages[-1]:
                assert not verify(Store(self.store)).problems

        @invariant()
        def reads_right_or_not_at_all(self) -> None:
            if not self.store.exists():
                return
            sets = {tuple(sorted(s)) for s in (self.scans, self.taken, {*self.scans, *self.taken}, [0], [0, 1], [0, 2])}
            known = [bench.undisturbed(s, window, until) for s in [*sets, (0, 1, 2)] if s for window in WINDOWS]

            code, text = in_child(lambda: assert_right_or_error(self.store, known))
            assert code == 0, text

        def teardown(self) -> None:
            if self.store.exists():
                self.heal(until=stages[-1], workers=2)
            shutil.rmtree(self.folder, ignore_errors=True)

    return Machine


def play(bench: Bench, until: str, folder: Path, examples: int, steps: int) -> None:
    """Run the machine; the first example of Hypothesis is the simplest one, verifying and nothing else."""
    done = Counter[str]()
    run_state_machine_as_test(
        machine_of(bench, until, folder, done),
        settings=settings(
            max_examples=examples + 1,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
            phases=[Phase.generate],
        ),
    )
    done["check"] -= steps
    print(f"{sum(done.values())} steps up to {until}: {dict(done.most_common())}")
    assert sum(done.values()) >= examples * steps
    assert len(+done) > (3 if examples > 1 else 1)


def test_twenty_steps(bench, tmp_path):
    play(bench, "reconstruction", tmp_path, 2, 10)


PATIENCE = 60.0  # seconds

CAUSES: dict[str, Callable[[], None]] = {
    "disk full": lambda: store_bench.refuse_writes(errno.ENOSPC, 12),
    "no permission": lambda: store_bench.refuse_writes(errno.EACCES, 30),
    "no memory": lambda: store_bench.limit_memory(0),
    "little memory": lambda: store_bench.limit_memory(40 * 2**20),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_nothing_is_lost_while_something_is_withheld(bench, tmp_path, cause):
    config = bench.configure(tmp_path, (0, 1), "ram-lak")

    def work() -> int:
        CAUSES[cause]()
        return store_bench.run(config, "reconstruction", 2, "4GB")

    code, text = in_child(work, patience=PATIENCE)
    # a thread that finds no memory for its first step is waited for by Python itself, for ever: it is killed then
    hung = code == -signal.SIGKILL and "memory" in cause
    assert hung or code in (0, 1, 2, 3, store_bench.WITHHELD), text
    assert "\n" not in text
    assert in_child(lambda: store_bench.run(config, "reconstruction", 3, "2GB")) == (0, "")
    assert_like(tmp_path / "store.zarr", bench.undisturbed((0, 1), "ram-lak", "reconstruction"))
    assert not verify(Store(tmp_path / "store.zarr")).problems


@pytest.mark.parametrize("length", [3000, 4005, 4060])
def test_a_very_long_path(bench, tmp_path, length):
    """Near the limit of the system some files of a store fit and others do not: one line, and nothing is harmed."""
    folder = tmp_path
    while len(str(folder)) < length - 1:
        folder /= "x" * min(200, length - 1 - len(str(folder)))
    folder.mkdir(parents=True)
    config = bench.configure(folder, (0, 1), "ram-lak")
    code, text = in_child(lambda: store_bench.run(config, "reconstruction", 2, "4GB"))
    assert code == 0 or length > 4000, text
    if code == 0:
        assert_like(folder / "store.zarr", bench.undisturbed((0, 1), "ram-lak", "reconstruction"))
    else:
        assert code in (1, store_bench.WITHHELD), text
        assert "too long" in text
        assert "\n" not in text


@soak
@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("until", "examples", "steps"), [("reconstruction", SOAK, 40), ("variation", SOAK, 10)])
def test_many_steps(bench, tmp_path, until, examples, steps):
    """Five hundred steps with ``XCT_SOAK=10``."""
    play(bench, until, tmp_path, examples, steps)


def seconds_of(function: Callable[[], int | None]) -> float:
    """Return the processor seconds that a call takes in a child."""
    before = os.times()
    assert in_child(function) == (0, "")
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def killed_and_continued(bench: Bench, folder: Path, stage: str, count: int) -> None:
    """Kill runs of one stage at writes or anywhere, and go on with other workers and memory: the same bytes."""
    whole, before = bench.undisturbed((0, 1), "ram-lak", stage), STAGES[max(0, STAGES.index(stage) - 1)]
    begun = folder / "begun"
    config = bench.configure(begun, (0, 1), "ram-lak")
    if stage != before:
        assert in_child(lambda: store_bench.run(config, before, 2, "4GB"))[0] == 0
    copy_store(begun, folder / "timed")
    long = seconds_of(lambda: store_bench.run(folder / "timed" / "run.toml", stage, 2, "4GB"))
    writes = len(store_bench.files_of(whole)) - len(store_bench.files_of(begun))
    draw, killed = random.Random(0), 0
    for k in range(count):
        copy = folder / f"copy_{k}"
        copy_store(begun, copy)
        again = copy / "run.toml"
        moment = {"seconds": draw.uniform(0, long)} if k % 3 == 2 else {"deaths": draw.randint(1, writes)}
        code, text = in_child(
            lambda c=again, k=k: store_bench.run(c, stage, 1 + k % 4, "8GB"), late=bool(k % 2), **moment
        )
        killed += code != 0
        assert code in (0, store_bench.KILLED, store_bench.TIMED), text
        code, text = in_child(lambda c=again, k=k: store_bench.run(c, stage, 4 - k % 4, "2GB"))
        assert code == 0, text
        assert_like(copy / "store.zarr", whole)
        assert not verify(Store(copy / "store.zarr")).problems
        shutil.rmtree(copy)
    print(f"{stage}: killed {killed} times")
    assert killed >= count // 2


def test_a_killed_reconstruction_is_continued_with_other_workers_and_memory(bench, tmp_path):
    killed_and_continued(bench, tmp_path, "reconstruction", 6)


@soak
@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("stage", STAGES)
def test_many_kills(bench, tmp_path, stage):
    """A hundred kills with ``XCT_SOAK=10``."""
    killed_and_continued(bench, tmp_path, stage, 10 * SOAK)


def simulated(folder: Path) -> None:
    demo.simulate_folder(folder, scans=2, columns=64, rows=32, angles=25)


def exported(store: Path, format: str, folder: Path) -> None:
    list(export_store(store, format, folder))


def tree(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all that is there, hidden files as well."""
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


WRITERS = ("report", "tiff", "hdf5", "simulate")


def killed_and_repeated(bench: Bench, folder: Path, what: str, count: int) -> None:
    """Kill what writes files at any moment: what bears a final name is whole, and the same call ends with the same."""
    copy_store(bench.undisturbed((0, 1), "ram-lak", "reconstruction").parent, folder / "copy")
    store, work = folder / "copy" / "store.zarr", folder / "work"

    def write(place: Path) -> None:
        if what == "simulate":
            simulated(place)
        elif what == "report":
            write_report(store)
        else:
            exported(store, what, place)

    place = store if what == "report" else work
    seconds_of(lambda: write(folder / "first"))
    long = seconds_of(lambda: write(folder / "whole"))  # without what only the first call does
    whole = tree(store if what == "report" else folder / "whole")
    known = set(whole) | {"simulation.unfinished"}
    again = what != "simulate"  # every other one replaces what an earlier call wrote
    draw, killed, k = random.Random(0), 0, 0
    while killed < count:
        k += 1
        assert k <= 5 * count
        if not (again and k % 2) and what != "report":
            shutil.rmtree(work, ignore_errors=True)
        code, text = in_child(lambda: write(work), seconds=max(0.01, draw.uniform(0, long)))
        assert code in (0, store_bench.TIMED), text
        killed += code != 0
        for name, data in tree(place).items() if place.exists() else ():
            hidden = any(part.startswith(".") and part != ".xct" for part in Path(name).parts)
            assert hidden or name in known, name
            assert hidden or name == "simulation.unfinished" or data == whole[name] or what == "report", name
        if what == "tiff" and work.exists():  # a folder with its final name holds all its slices
            for scan in work.glob("scan_*"):
                names = {n for n in whole if n.startswith(f"{scan.name}/")}
                assert {f"{scan.name}/{f.name}" for f in scan.iterdir()} == names
        if what == "report":
            assert (store / "report.html").read_bytes().rstrip().endswith(b"</html>")
        if what == "simulate" and work.exists() and tree(work) == whole:  # all was done before it was killed
            assert in_child(lambda: write(work))[0] == 1  # never written over
            assert tree(work) == whole
            shutil.rmtree(work)
        assert in_child(lambda: write(work)) == (0, "")
        if what == "report":
            assert not [p for p in verify(Store(store)).problems if ".partial" not in p.place]
        else:
            assert tree(work) == whole
    print(f"{what}: killed {killed} times")
    if what == "report":
        assert in_child(lambda: store_bench.mend(store)) == (0, "")
        assert set(tree(store)) == set(whole)


@pytest.mark.parametrize("what", WRITERS[:2])
def test_killed_writing_leaves_nothing_half_finished(bench, tmp_path, what):
    killed_and_repeated(bench, tmp_path, what, 4)


@soak
@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("what", WRITERS)
def test_much_killed_writing(bench, tmp_path, what):
    """A hundred kills with ``XCT_SOAK=10``."""
    killed_and_repeated(bench, tmp_path, what, 10 * SOAK)


def flipped(bench: Bench, folder: Path, until: str, times: int, together: int) -> None:
    """Flip bits over all files, time kept or not: verify finds each, and the next run brings the same bytes."""
    whole = bench.undisturbed((0, 1), "ram-lak", until)
    copy_store(whole.parent, folder / "copy")
    store, draw = folder / "copy" / "store.zarr", random.Random(0)
    for _ in range(times // together):
        files = draw.sample(store_bench.files_of(store), together)
        for file in files:
            flip(file, draw, keep_time=draw.random() < 0.5)
        found = {problem.place for problem in verify(Store(store)).problems}
        silent = [f for f in files if f.relative_to(store).as_posix() not in found and not told_by(f, found, store)]
        assert not silent, f"verify says nothing of {silent}"
        code, text = in_child(lambda: assert_right_or_error(store, [whole]))
        assert code == 0, text
        assert in_child(lambda: store_bench.mend(store)) == (0, "")
        code, text = in_child(lambda: store_bench.run(store.parent / "run.toml", until, 2, "4GB", report=True))
        assert code == 0, text
        assert_like(store, whole)
        assert not verify(Store(store)).problems
        print(f"{together} more were found and healed", flush=True)


def told_by(file: Path, found: set[str], store: Path) -> bool:
    """Tell whether what vouches for a file was found to be ruined itself, so that the file is computed anew anyway."""
    place = file.relative_to(store).as_posix()
    if place.startswith("tables/") or place in ("report.html", "ro-crate-metadata.json"):
        return ".xct/files.json" in found
    name = place.removeprefix(".xct/markers/")
    images = [p.as_posix() for p in Path(name).parents]
    if any({f"{image}/zarr.json", f".xct/markers/{image}.pass.json"} <= found for image in images):
        return True  # neither what the image is nor what it was made of is known
    shard = re.fullmatch(r"(.+)/\d/c/(.+)", place)
    return shard is not None and f".xct/markers/{shard[1]}/{shard[2].replace('/', '_')}.json" in found


def test_fifty_flips_are_found_and_healed(bench, tmp_path):
    flipped(bench, tmp_path, "reconstruction", 50, 10)


@soak
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_many_flips_are_found_and_healed(bench, tmp_path):
    """A thousand flips with ``XCT_SOAK=10``."""
    flipped(bench, tmp_path, "variation", 100 * SOAK, 40)
