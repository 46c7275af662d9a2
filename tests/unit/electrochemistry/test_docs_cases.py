"""Every row of the docs' table of cases is a test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_case_of_the_docs_is_a_test() -> None:
    table = (ROOT / "docs" / "electrochemistry.md").read_text().split("## Cases")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert len(rows) > 25
    defined = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    for row, names in zip(rows, named, strict=True):
        assert names, row
        assert all(f"def {name}(" in defined for name in names), row
