"""What a page consists of: sections of panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from xct_pipeline.report.contents import AbsentError, Contents


def _nothing(contents: Contents) -> Sequence[str]:
    del contents
    return ()


@dataclass(frozen=True)
class Panel:
    """One thing to look at: what it is, what it says, how it is drawn, and what is concluded from its numbers."""

    title: str
    text: str
    draw: Callable[[Contents], Markup]
    concludes: Callable[[Contents], Sequence[str]] = _nothing

    def says(self, contents: Contents) -> list[str]:
        """Return the sentences that its numbers allow, none where they are absent."""
        try:
            return [text for text in self.concludes(contents) if text]
        except AbsentError:
            return []


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    key: str
    title: str
    panels: tuple[Panel, ...]
