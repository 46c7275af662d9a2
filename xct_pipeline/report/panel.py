"""What a page consists of: sections of panels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from xct_pipeline.report.contents import Contents


@dataclass(frozen=True)
class Panel:
    """One thing to look at: what it is, what it says, and how it is drawn."""

    title: str
    text: str
    draw: Callable[[Contents], Markup]


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    key: str
    title: str
    panels: tuple[Panel, ...]
