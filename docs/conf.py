"""How Sphinx builds the site: ``pip install '.[docs]' && sphinx-build -W -b html docs build/docs``.

The reference pages are made from the code when a build begins; they lie in ``docs/generated`` and are not committed.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import made

project = "xct_pipeline"
release = version = version_of("xct-pipeline")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"xct_pipeline {version}"
html_show_copyright = False
html_copy_source = False
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["ref.python"]  # types in docstrings go by short names, which two modules may have
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_mock_imports = ["napari", "magicgui", "qtpy", "superqt", "vispy", "cupy", "cupyx", "astra", "tomopy"]
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 100


def outside(_app: object, page: str, source: list[str]) -> None:
    """Let links to pages beside the README lead to their copies in the site."""
    up = "../" * page.count("/")
    source[0] = re.sub(
        r"\]\((?:\.\./)+(CONTRIBUTING|CHANGELOG)(?:\.md)?\)", lambda m: f"]({up}generated/{m[1].lower()}.md)", source[0]
    )


def magnitudes(_app: object, _what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Keep ``|k|`` of a formula from being taken for a substitution; literals stay as they are."""
    bars = re.compile(r"(``.*?``)|\|(\w+)\|")
    lines[:] = [bars.sub(lambda m: m[1] or rf"\|{m[2]}\|", line) for line in lines]


def levels(_app: object, _page: str, _template: str, context: dict[str, object], _doctree: object) -> None:
    """Give the captions of the contents, which the theme calls headings, the level that a screen reader asks for."""
    for key in ("body", "furo_navigation_tree"):
        if isinstance(context.get(key), str):
            context[key] = str(context[key]).replace(' role="heading">', ' role="heading" aria-level="2">')


def setup(app: object) -> None:
    """Make the reference pages before anything is read."""
    made.write(Path(__file__).parent / "generated")
    app.connect("source-read", outside)
    app.connect("autodoc-process-docstring", magnitudes)
    app.connect("html-page-context", levels, priority=900)  # behind the theme's own
