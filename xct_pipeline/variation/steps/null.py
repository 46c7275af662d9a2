"""Scans that are declared unchanged: their scatter, in a table, and what it makes of the errors of all scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xct_pipeline.variation import budget
from xct_pipeline.variation.null import null_test, null_warning
from xct_pipeline.variation.steps.pairs import Study

if TYPE_CHECKING:
    import pandas as pd


def check_null(declared: Sequence[str], names: Sequence[str]) -> None:
    """Raise ValueError where scans that are declared unchanged are not in the series, or are fewer than two."""
    unknown = [name for name in declared if name not in names]
    if unknown:
        raise ValueError(f"variation.null names {', '.join(unknown)}; the scans are {', '.join(names)}")
    if declared and len(set(declared)) < 2:
        raise ValueError(f"variation.null names {declared[0]} only; two scans are needed to see how they scatter")


def apply_null(
    study: Study, changes: Sequence[budget.Change | None]
) -> tuple[list[budget.Change | None], pd.DataFrame, list[str]]:
    """Return the changes with their noise multiplied by what the null experiment tells, its table, and warnings."""
    import pandas as pd

    series, declared = study.series, set(study.settings.null)
    check_null(study.settings.null, series.names)
    if not declared:
        return list(changes), pd.DataFrame(), []
    positions = [k for k, name in enumerate(series.names) if name in declared]
    tested = [k for k in positions if k != series.reference and changes[k] is not None]
    found = [change for k in tested if (change := changes[k]) is not None]
    with_reference = series.reference in positions
    names = [series.names[k] for k in positions if k in tested or k == series.reference]
    try:
        masses, errors = [c.mass_mg for c in found], [c.null_sigma_mg for c in found]
        result = null_test(masses, errors, with_reference=with_reference)
    except ValueError as error:
        return list(changes), pd.DataFrame(), [f"no null experiment: {error}"]
    rows = [(name, value) for name, value in vars(result).items()]
    table = pd.DataFrame(rows, columns=["quantity", "value"])
    told = null_warning(result, names)
    scaled = [None if c is None else _louder(c, result.applied) for c in changes]
    return scaled, table, [] if told is None else [told]


def _louder(change: budget.Change, factor: float) -> budget.Change:
    """Return a change whose errors where nothing changes are larger by a factor."""
    terms = {name: term * (factor if name in budget.NULL_TERMS else 1.0) for name, term in change.terms_mg.items()}
    return replace(change, terms_mg=terms)
