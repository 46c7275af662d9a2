"""The steps of a run: planned with their cost before anything is computed, executed as they were planned, recorded.

A step is a `Pass` (an image), a `Reduction` (a result kept in the store) or an `Estimate` (one found by one function,
such as a motion). Stages make them from the configuration and from shapes. A run binds to them what only it can know
(thresholds, motions, scans that failed) and executes these very objects.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote

from xct_pipeline.engine.resources import Need, Resources, base_bytes
from xct_pipeline.store import provenance

Outcome = Literal["executed", "reused", "not needed", "failed"]
Watch = Callable[[str, Outcome | None], None]
"""Is told of a step by its name: None when it begins (perhaps more than once), its outcome when it has ended."""
LONGEST = 100  # characters of a name in a path; longer ones are shortened to a hash
S = TypeVar("S")
B = TypeVar("B", bound="Bindable")


class Step(Protocol):
    """What is done in a run: named, of known cost."""

    @property
    def name(self) -> str:
        """Under which it is recorded, and its result kept; no two steps of a run share it."""
        ...

    @property
    def need(self) -> Need:
        """What it takes: tasks, memory, time, disk."""
        ...

    def digests(self) -> list[str]:
        """Return the hashes of everything that the result depends on: one, or one for each plane in time."""
        ...


class Bindable(Step, Protocol):
    """A step that takes in what only the run knows."""

    def bind(self: B, known: B) -> B:
        """Return the step with the data that `known` holds; its name and cost stay."""
        ...


@dataclass(frozen=True)
class Estimate:
    """A result that one function finds, in the process that shares out the tasks of others.

    Attributes
    ----------
    name : str
        Of the step, and of the file in the store that its result is kept in.
    version : int
        Raised whenever the result changes for equal inputs.
    cost : Need
        Its name is not used.
    inputs : mapping
        What the result depends on; known in the run.
    """

    name: str
    version: int
    cost: Need
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def need(self) -> Need:
        """What it takes."""
        return replace(self.cost, name=self.name)

    def identity(self) -> dict[str, Any]:
        """Everything that the result depends on."""
        return {"name": self.name, "version": self.version, "inputs": dict(self.inputs)}

    def digests(self) -> list[str]:
        """Return the hash under which the result is kept."""
        return [provenance.fingerprint(self.identity())]

    def bind(self, known: Estimate) -> Estimate:
        """Return the step with what the run knows of it; its cost stays."""
        return replace(self, inputs=known.inputs)


class Steps:
    """The steps of a run in their order, and how each ended.

    Parameters
    ----------
    planned : iterable of Step
    watch : callable, optional
        Told of each step that begins, and how it ended.

    Raises
    ------
    ValueError
        Two steps share a name: each would overwrite the other's result.
    """

    def __init__(self, planned: Iterable[Step] = (), watch: Watch | None = None) -> None:
        self.planned, self._watch, self._lock = tuple(planned), watch, threading.Lock()
        counts = Counter(step.name for step in self.planned)
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise ValueError(f"two steps of a run are called {', '.join(twice)}")
        self._by_name = {step.name: step for step in self.planned}
        self.outcomes: dict[str, Outcome] = {}
        self.digests: dict[str, list[str]] = {}

    def __contains__(self, name: str) -> bool:
        """Tell whether a step of that name was planned."""
        return name in self._by_name

    def take(self, name: str, kind: type[S]) -> S:
        """Return a step that was planned.

        Raises
        ------
        LookupError
            None of that name and kind was.
        """
        step = self._by_name.get(name)
        if not isinstance(step, kind):
            raise LookupError(f"no {kind.__name__} called {name} was planned; there are {', '.join(self._by_name)}")
        return step

    def bind(self, known: B) -> B:
        """Return the step that was planned under the name of `known`, with the data that this holds.

        Raises
        ------
        LookupError
            None of that name and kind was planned.
        """
        step = self.take(known.name, type(known))
        self._tell(step.name, None)
        return step.bind(known)

    def note(self, step: Step, outcome: Outcome) -> None:
        """Take note of how a step ended.

        Raises
        ------
        LookupError
            It was not planned, or has been noted already.
        """
        if step.name not in self._by_name or step.name in self.outcomes:
            raise LookupError(f"{step.name} was {'noted already' if step.name in self.outcomes else 'not planned'}")
        self.outcomes[step.name] = outcome
        self.digests[step.name] = step.digests()
        self._tell(step.name, outcome)

    def _tell(self, name: str, outcome: Outcome | None) -> None:
        if self._watch is not None:
            with self._lock:  # scans are estimated side by side
                self._watch(name, outcome)

    def leave_out(self, names: Iterable[str]) -> None:
        """Take note that steps were not needed; those that were noted already stay as they are."""
        for name in names:
            if name not in self.outcomes:
                self.note(self._by_name[name], "not needed")

    def record(self) -> list[dict[str, str]]:
        """Return name and outcome of all steps in the order they were planned in."""
        return [{"name": name, "outcome": self.outcomes.get(name, "not reached")} for name in self._by_name]


@dataclass(frozen=True)
class Stage:
    """The steps of a stage, and what they take together.

    Attributes
    ----------
    stage : str
    steps : tuple of Step
        One after the other, but for passes that know of each other's tasks.
    """

    stage: str
    steps: tuple[Step, ...]

    @property
    def needs(self) -> tuple[Need, ...]:
        """Of each step."""
        return tuple(step.need for step in self.steps)

    @property
    def tasks(self) -> int:
        """Of all steps."""
        return sum(need.tasks for need in self.needs)

    @property
    def cpu_s(self) -> float:
        """Of all steps, roughly."""
        return sum(need.cpu_s for need in self.needs)

    @property
    def disk_bytes(self) -> int:
        """Of all images, uncompressed."""
        return sum(need.disk_bytes for need in self.needs)

    def peak_bytes(self, limits: Resources) -> int:
        """Return the memory of the largest step."""
        return max((need.peak_bytes(limits) for need in self.needs), default=base_bytes(limits))

    def seconds(self, limits: Resources) -> float:
        """Return how long it takes on this machine's workers, roughly."""
        return sum(need.cpu_s / need.workers(limits) for need in self.needs)


def of_each(steps: Iterable[Estimate], count: int) -> list[Estimate]:
    """Return what is estimated of one of `count` scans, beside the others."""
    return [replace(step, cost=replace(step.cost, beside=count - 1)) for step in steps]


def needs_of(known: Iterable[Step], steps: Steps | None) -> list[Need]:
    """Return what steps take, as they were planned for a run where there is one."""
    return [(step if steps is None else steps.take(step.name, type(step))).need for step in known]


def path_name(name: str) -> str:
    """Return a name as part of a path, another one for every other name; letters, digits, ``_.-~`` stay."""
    text = quote(name, safe="").replace(".", "%2E") if set(name) <= {"."} else quote(name, safe="")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 32]}%{provenance.fingerprint(name)}"
