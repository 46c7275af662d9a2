"""Steps as values: names that never clash, data bound late, a record of what became of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xct_pipeline.engine import execution
from xct_pipeline.engine.blocks import Nothing, Reduction, unbound
from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.engine.steps import LONGEST, Estimate, Steps, path_name
from xct_pipeline.store.store import Store

LIMITS = Resources(workers=2, memory=2 * 10**9)
REGIONS = [(slice(k, k + 1),) for k in range(4)]


def add(parts):
    return {"sum": np.array(sum(part["sum"] for part in parts))}


def total(name, factor=None, **more):
    """A reduction that sums the starts of its regions; `factor` is known in the run only."""
    chunk = unbound if factor is None else lambda block, region: {"sum": np.array(factor * region[0].start)}
    return Reduction(name, 1, chunk, add, {"factor": factor}, source=Nothing(8), regions=REGIONS, **more)


def estimate(name):
    return Estimate(name, 1, Need("", 1, 10, alone=True))


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "s.zarr")
    found.state.mkdir(parents=True)
    return found


def test_two_steps_of_a_run_never_share_a_name():
    with pytest.raises(ValueError, match="two steps of a run are called a, b"):
        Steps([total("b"), estimate("a"), total("a"), total("b"), total("c")])


def test_what_was_planned_is_executed_with_the_data_of_the_run(store):
    steps = Steps([total("a", cpu_s=3.0, scratch=7.0), total("b"), estimate("c")])
    found = execution.measure(store, total("a", 2), LIMITS, steps)
    assert found["sum"] == 12
    bound = steps.bind(total("a", 2))
    assert (bound.parameters, bound.cpu_s, bound.scratch) == ({"factor": 2}, 3.0, 7.0)
    assert bound.need == steps.planned[0].need
    with pytest.raises(LookupError, match="noted already"):
        execution.measure(store, total("a", 2), LIMITS, steps)
    with pytest.raises(LookupError, match="no Reduction called d was planned"):
        execution.measure(store, total("d", 2), LIMITS, steps)
    with pytest.raises(LookupError, match="no Reduction called c was planned"):
        execution.measure(store, total("c", 2), LIMITS, steps)
    with pytest.raises(RuntimeError, match="before its function was bound"):
        execution.measure(store, total("b"), LIMITS, steps)
    steps.leave_out(["a", "b"])
    assert steps.record() == [
        {"name": "a", "outcome": "executed"},
        {"name": "b", "outcome": "not needed"},
        {"name": "c", "outcome": "not reached"},
    ]


def test_a_result_is_kept_under_name_and_content(store):
    for outcome in ("executed", "reused"):
        steps = Steps([total("x/a"), total("x/b")])
        assert execution.measure(store, total("x/a", 1), LIMITS, steps)["sum"] == 6
        assert execution.measure(store, total("x/b", 1), LIMITS, steps)["sum"] == 6
        assert {entry["outcome"] for entry in steps.record()} == {outcome}
        (digest,) = steps.digests["x/a"]
        assert execution.load_kept(store, "x/a", digest)["sum"] == 6
        assert execution.load_kept(store, "x/b", digest) is None
    steps = Steps([total("x/a")])
    assert execution.measure(store, total("x/a", 5), LIMITS, steps)["sum"] == 30
    assert steps.outcomes == {"x/a": "executed"}


def test_a_failed_step_is_recorded_as_not_reached(store):
    steps = Steps([estimate("a")])

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        execution.estimated(store, estimate("a"), fail, steps)
    assert steps.record() == [{"name": "a", "outcome": "not reached"}]


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@given(st.lists(names, min_size=2, max_size=8, unique=True))
@example(["Na-K", "Na K", "Na_K", "na k", "Na/K", "Na%20K"])
@example([".", "..", "%2E"])
@example(["a" * 101, "a" * 102, "a" * 100])
def test_names_to_paths_are_injective(some):
    found = [path_name(name) for name in some]
    assert len(set(found)) == len(some)
    for path in found:
        assert "/" not in path
        assert path not in (".", "..")
        assert len(path) <= LONGEST + 1
    assert path_name("Na_K-2.5") == "Na_K-2.5"
