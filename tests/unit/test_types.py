"""What a type checker is told: how many parameters have no type, and what a user's own script is told by mypy."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import xct_pipeline as xct

PACKAGE = Path(xct.__file__).parent
MOST_UNTYPED = 0.04
"""Share of the package's parameters that may be `Any` or without an annotation."""

SCRIPT = '''\
"""What the README shows, and one wrong line for each kind of mistake."""

import pandas as pd
import xarray as xr

import xct_pipeline as xct

config = xct.load_config("run.toml")
plan = xct.plan(config, until="registration")
result = xct.run(plan)
volume: xr.DataArray = xct.open_volume("store.zarr", "scan_0")
table: pd.DataFrame = xct.open_table("store.zarr", "mass_balance")
centers = xct.find_centers(config)
print([scan.name for scan in result.failed], {name: estimate.center for name, estimate in centers.items()})
reveal_type(xct.open_volume("store.zarr"))
'''
MISTAKES = {
    'xct.plan("run.toml")': "arg-type",
    'xct.open_volume("store.zarr", level="0")': "arg-type",
    "xct.run()": "call-arg",
    'number: int = xct.open_volume("store.zarr")': "assignment",
    "xct.open_volumes": "attr-defined",
}


def test_few_parameters_are_without_a_type():
    parameters = [parameter for file in sorted(PACKAGE.rglob("*.py")) for parameter in _parameters(file)]
    untyped = [name for name, annotation in parameters if annotation is None or _is_any(annotation)]
    assert len(parameters) > 1000
    share = len(untyped) / len(parameters)
    assert share <= MOST_UNTYPED, f"{len(untyped)} of {len(parameters)} ({share:.1%}):\n" + "\n".join(untyped)


@pytest.mark.parametrize(
    ("source", "untyped"),
    [
        ("def f(a, *b, c, **d): ...", 4),
        ("def f(a: Any, b: typing.Any, c: Any | None, d: Optional[Any], e: Union[int, Any]): ...", 5),
        ("def f(a: NDArray[Any], b: dict[str, Any], c: Callable[..., Any], d: int | None): ...", 0),
        ("class A:\n    def f(self, a: 'Any'): ...\n    @classmethod\n    def g(cls, b: 'int'): ...", 1),
    ],
)
def test_what_counts_as_without_a_type(source, untyped, tmp_path):
    file = tmp_path / "module.py"
    file.write_text(source)
    assert sum(annotation is None or _is_any(annotation) for _, annotation in _parameters(file)) == untyped


@pytest.mark.slow
def test_a_script_is_told_types_and_mistakes(tmp_path, cache):
    pytest.importorskip("mypy", reason="mypy is not installed: it comes with the dev extra")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + "".join(f"{line}\n" for line in MISTAKES))
    told = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", cache.mkdir("mypy")),
            *("--disable-error-code=import-untyped", script.name),  # pandas comes without its stubs
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = told.stdout.splitlines()
    revealed, first = len(SCRIPT.splitlines()), len(SCRIPT.splitlines()) + 1
    assert f'{script.name}:{revealed}: note: Revealed type is "xarray.core.dataarray.DataArray"' in lines, told
    errors = [line for line in lines if ": error: " in line]
    assert len(errors) == len(MISTAKES), told
    for number, (error, code) in enumerate(zip(errors, MISTAKES.values(), strict=True), first):
        assert error.startswith(f"{script.name}:{number}: ")
        assert error.endswith(f"[{code}]")


def test_checkers_are_told_of_every_public_name():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    hints = next(node for node in tree.body if isinstance(node, ast.If))
    told = {alias.name: node.module for node in hints.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(told) == sorted(xct.__all__)
    for name, module in told.items():
        assert getattr(xct, name) is getattr(importlib.import_module(str(module)), name)


@pytest.mark.parametrize("name", xct.__all__)
def test_a_module_hides_no_public_name(name):
    module = f"xct_pipeline.{name}"
    if importlib.util.find_spec(module):
        importlib.import_module(module)
    assert not isinstance(getattr(xct, name), ModuleType)


@pytest.mark.parametrize("first", ["xct_pipeline.planning", "xct_pipeline.pipeline", "xct_pipeline.planning.preview"])
def test_a_public_name_is_the_same_whatever_was_imported_before(first):
    code = f"import {first}, xct_pipeline as xct; xct.run; assert xct.plan is xct.plan and callable(xct.plan)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


def _parameters(file: Path) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield the place and annotation of every parameter of a file's functions, `self` and `cls` left out."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            a = node.args
            for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))):
                if arg.arg not in ("self", "cls"):
                    yield f"{file.name}:{arg.lineno}: {node.name}({arg.arg})", arg.annotation


def _is_any(annotation: ast.expr) -> bool:
    """Tell whether an annotation is `Any`, or a union with it, which allows as much."""
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name == "Any"
        case ast.Constant(value=str(text)):
            return _is_any(ast.parse(text, mode="eval").body)
        case ast.BinOp(left=left, right=right):
            return _is_any(left) or _is_any(right)
        case ast.Subscript(
            value=ast.Name(id="Optional" | "Union") | ast.Attribute(attr="Optional" | "Union"), slice=of
        ):
            return any(map(_is_any, of.elts if isinstance(of, ast.Tuple) else [of]))
    return False
