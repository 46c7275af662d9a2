"""Reductions over the same regions in one visit: a task that works on a region reads once what several of them need.

Each keeps its name, its hash and its result, so that any of them may be there from an earlier run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region
from xct_pipeline.engine import reads
from xct_pipeline.engine.blocks import Array, Reduction, Source
from xct_pipeline.engine.execution import estimated, load_estimate, reduced
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.store.store import Store

Part = tuple[Source, Any]


def in_one_visit(reductions: Sequence[Reduction]) -> list[Reduction]:
    """Return reductions whose tasks have the memory for all that is read of a region, as they are made together."""
    read = [max((step.source.nbytes(region) for region in step.regions), default=0) for step in reductions]
    return [
        replace(step, scratch=step.scratch + (sum(read) - own) / max(own, 1))
        for step, own in zip(reductions, read, strict=True)
    ]


def measure_together(
    store: Store | None, reductions: Sequence[Reduction], limits: Resources, steps: Steps | None = None
) -> list[dict[str, Array]]:
    """Return the results of reductions over the same regions; those that the store does not keep are made in one visit.

    Parameters
    ----------
    reductions : sequence of Reduction
        From `in_one_visit`.
    store, steps
        As for `measure`.

    Raises
    ------
    RefusedError
        One region needs more memory than the limit.
    """
    known = [step if steps is None else steps.bind(step) for step in reductions]
    left = [step for step in known if load_estimate(store, step.name, step.identity()) is None]
    made = _split(reduced(store, _visit(left), limits)) if left else {}
    return [estimated(store, step, partial(made.__getitem__, step.name), steps) for step in known]


@dataclass(frozen=True)
class _Visit:
    """Takes the memory of the largest of some reductions; they read by themselves."""

    sources: tuple[tuple[Source, float], ...]  # and the scratch of each

    def read(self, region: Region) -> Array:
        del region
        return np.empty(0)

    def nbytes(self, region: Region) -> int:
        return max(int(source.nbytes(region) * (1 + scratch)) for source, scratch in self.sources)


def _visit(reductions: Sequence[Reduction]) -> Reduction:
    """Return reductions as one, whose results are told apart by their names."""
    parts = {step.name: (step.source, step.chunk) for step in reductions}
    return Reduction(
        " and ".join(parts),
        1,
        partial(_visit_chunk, parts=parts),
        partial(_combine, reductions={step.name: step.combine for step in reductions}),
        source=_Visit(tuple((step.source, step.scratch) for step in reductions)),
        regions=reductions[0].regions,
        scratch=0.0,
        partial_bytes=sum(step.partial_bytes for step in reductions),
        held_bytes=sum(step.held_bytes for step in reductions),
    )


def _visit_chunk(block: Array, region: Region, *, parts: Mapping[str, Part]) -> dict[str, Array]:
    del block
    with reads.once():
        return _joined({name: chunk(source.read(region), region) for name, (source, chunk) in parts.items()})


def _combine(partials: Sequence[Mapping[str, Array]], *, reductions: Mapping[str, Any]) -> dict[str, Array]:
    found = [_split(each) for each in partials]
    return _joined({name: combine([each[name] for each in found]) for name, combine in reductions.items()})


def _joined(results: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    return {f"{name}:{key}": value for name, found in results.items() for key, value in found.items()}


def _split(joined: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    found: dict[str, dict[str, Array]] = {}
    for key, value in joined.items():
        name, own = key.rsplit(":", 1)
        found.setdefault(name, {})[own] = value
    return found
