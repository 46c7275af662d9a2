"""``[about]``: who measured, and under which licence the results are given away; for the metadata of the store."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from xct_pipeline.config.section import Section

Words = Annotated[str, Field(min_length=1, max_length=5000)]


class Person(Section):
    """Somebody who is to be named."""

    name: Words
    """Given name and family name."""
    orcid: Annotated[str, Field(pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$")] | None = None
    """ORCID, 0000-0002-1825-0097."""
    affiliation: Words | None = None
    """Where they work."""


class About(Section):
    """What only people know of an experiment; nothing is computed from it."""

    title: Words | None = None
    """Of the data set."""
    description: Words | None = None
    """What was measured and why."""
    people: list[Person] = []
    """Who is to be named, in order."""
    license: Words | None = None
    """SPDX name (CC-BY-4.0) or address of the licence."""
