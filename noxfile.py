"""The tests in other surroundings: ``nox`` runs all sessions, ``nox -s lowest`` one of them.

Interpreters that are not installed are left out. ``.ci/run`` holds everything else.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
PARTS = ("tests/unit", "tests/property", "tests/end_to_end/test_cli.py")
RENDER = (
    "from rattler_build import Stage0Recipe, VariantConfig; "
    "(made,) = Stage0Recipe.from_file('recipe/recipe.yaml').render(VariantConfig()); print(made.recipe)"
)


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Newest versions of everything, all extras of the tests."""
    session.install(".[fft,test]")
    session.run("pytest", "-q", *(session.posargs or PARTS))


@nox.session(python="3.11", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The lowest versions that pyproject.toml allows."""
    session.install("--resolution", "lowest-direct", ".[test]")
    session.run("pytest", "-q", *(session.posargs or PARTS))


@nox.session(python="3.12")
def no_extras(session: nox.Session) -> None:
    """Nothing but what the package requires: the demo from end to end."""
    session.install(".")
    session.run("xct", "demo", session.create_tmp() + "/demo")


@nox.session
def recipe(session: nox.Session) -> None:
    """Render the conda recipe, which finds what is wrong with it."""
    session.install("py-rattler-build")
    session.run("python", "-c", RENDER)
