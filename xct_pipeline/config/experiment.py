"""What the experiment was, in the words of who did it, and how the report is written."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from xct_pipeline.config.section import Section

Words = Annotated[str, Field(max_length=200)]


class Experiment(Section):
    """What stands at the head of the report. Nothing is computed from it."""

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


class Report(Section):
    """The report of a store."""

    embed: bool = True
    """Put the library that draws charts (5 MB) into the page, rather than once beside all stores of a folder."""
