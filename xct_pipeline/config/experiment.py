"""What the experiment was, in the words of who did it, and how the report is written."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from xct_pipeline.config.section import Section

Words = Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(max_length=5000)]


class Person(Section):
    """Somebody who is to be named."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """Given name and family name."""
    orcid: Annotated[str, Field(pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$")] | None = None
    """ORCID, 0000-0002-1825-0097."""
    affiliation: Words = ""
    """Where they work."""


class Experiment(Section):
    """What only people know of an experiment, for the head of the report and metadata. Nothing is computed from it."""

    title: Words = ""
    """Of the report; what was measured, by default."""
    sample: Words = ""
    """The cell: materials, name, preparation."""
    beamline: Words = ""
    """Where the scans were taken."""
    date: Words = ""
    """When, as it shall be shown."""
    operator: Words = ""
    """Who took them."""
    description: Text = ""
    """What was measured and why."""
    people: list[Person] = []
    """Who is to be named with the results, in order."""
    license: Words = ""
    """SPDX name (CC-BY-4.0) or address of the licence of the results."""


class Report(Section):
    """The report of a store."""

    embed: bool = True
    """Put the library that draws charts (5 MB) into the page, rather than once beside all stores of a folder."""
