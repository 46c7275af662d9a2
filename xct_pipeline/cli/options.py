"""What the commands share: their options, how they read a configuration, how they print."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import math
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from xct_pipeline.cli import signals
from xct_pipeline.cli.kinds import require_config

DONE, WRONG, REFUSED, PARTIAL, INTERRUPTED = 0, 1, 2, 3, signals.INTERRUPTED

ConfigPath = Annotated[Path, typer.Argument(metavar="RUN.TOML", help="The configuration.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Memory = Annotated[
    str | None, typer.Option(help="Most memory the run may take, e.g. 8GB (default: 80 % of what is free).")
]
Workers = Annotated[int | None, typer.Option(help="Tasks at a time (default: the cores this process may use).")]
Cluster = Annotated[
    str | None, typer.Option(help="local:N for N worker processes, or tcp://HOST:PORT of a dask scheduler.")
]
Rows = Annotated[str | None, typer.Option(help="Detector rows a:b (half-open) instead of the configuration's.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda; without a CUDA device, the processor.")]


def parse_bytes(text: str | None) -> int | None:
    """Turn 8GB, 500 MB or 2GiB into bytes."""
    if text is None:
        return None
    from dask.utils import parse_bytes as parsed

    try:
        size = parsed(text) if re.match(r"\s*[\d.]", text) else 0  # a unit alone is one of it there
    except (ValueError, OverflowError):
        size = 0
    if not 0 < size < 2**63:
        raise ValueError(f"--memory {text}: write a size such as 8GB or 500MB")
    return int(size)


def parse_rows(text: str | None) -> tuple[int, int] | None:
    """Turn a:b into a pair."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text.strip())
    if not match or int(match[1]) >= int(match[2]):
        raise ValueError(f"--rows {text}: write first:stop with first < stop")
    return int(match[1]), int(match[2])


def print_json(value: Any) -> None:
    """Print JSON that every parser takes."""
    from xct_pipeline.store.provenance import plain

    print(json.dumps(_finite(plain(value)), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    """Turn numbers that JSON does not know (nan, inf) into null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage while modules are imported: what they make stays, and looking took a sixth of the time.

    A plan imports what its formats, formulas and logs need.
    """
    collects, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        if collects:
            gc.enable()


def load(config: Path) -> Any:
    """Read a configuration."""
    from xct_pipeline.config.file import load_config

    require_config(config)
    return load_config(config)


def plan_of(
    config: Path,
    memory: str | None,
    workers: int | None,
    cluster: str | None,
    rows: str | None,
    until: str | None = None,
) -> Any:
    """Lay out the run that a command's options describe."""
    from xct_pipeline.config.file import ConfigError, read_text
    from xct_pipeline.config.lines import located

    try:
        settings = load(config)
    except ConfigError as error:
        raise ConfigError(error.source, _with_others(config, error.problems, until)) from None
    with uncollected():
        from xct_pipeline import pipeline
        from xct_pipeline.engine.resources import resources
        from xct_pipeline.planning.plan import EveryError, spread

    span = parse_rows(rows)
    if span is not None:
        settings = settings.model_copy(update={"acquisition": settings.acquisition.model_copy(update={"rows": span})})
    limits = resources(workers, parse_bytes(memory), cluster)
    try:
        with uncollected():
            layout = spread(pipeline.plan(settings, limits, until))
        scans = [(item.name, item.taken) for item in layout.scans]
        if not pipeline.beside_problems(settings, scans):
            return layout
        raise EveryError([], layout.scans)
    except EveryError as error:
        problems = list(dict.fromkeys([*error.problems, *_of_files(settings, error)]))
        if len(problems) == 1:
            raise EveryError(problems) from None
        raise ConfigError(str(config), located(problems, read_text(config))) from None


def end_partial(settings: Any, asked: list[str] | None, done: Collection[str]) -> None:
    """End with the exit code for "some scans failed" where fewer were done than asked for."""
    from xct_pipeline.acquisition.steps import open_scans

    if len(done) < len(asked or open_scans(settings)):
        raise typer.Exit(PARTIAL)


def _with_others(config: Path, problems: list[str], until: str | None) -> list[str]:
    """Add what is wrong with scans, logs and sound settings of a configuration that is wrong elsewhere."""
    from xct_pipeline.config.file import MOST_MENDED, load_sound, read_text
    from xct_pipeline.config.lines import located

    if len(problems) > MOST_MENDED:
        return problems
    settings, others = load_sound(config)
    if settings is not None:
        from xct_pipeline import pipeline
        from xct_pipeline.planning.plan import EveryError

        try:
            others += _of_files(settings, pipeline.plan(settings, None, until))
        except EveryError as error:
            others += [*error.problems, *_of_files(settings, error)]
        except ValueError:  # of the command line
            return problems
    told = located(others, read_text(config)) if others else []
    return list(dict.fromkeys([*problems, *told]))


def _of_files(settings: Any, opened: Any) -> list[str]:
    """Return what is wrong with the frames of the scans that could be opened, and with what was recorded beside them.

    Parameters
    ----------
    settings : Config
    opened : Plan or EveryError
    """
    from xct_pipeline import pipeline
    from xct_pipeline.planning.inspection import inspected_scans

    if opened.scans is None:
        return pipeline.beside_problems(settings)
    looked, _ = inspected_scans(settings, opened.scans)
    beside = pipeline.beside_problems(settings, [(item.name, item.taken) for item in opened.scans])
    return [*(item.problem for item in looked if item.problem), *beside]


def use_device(device: str) -> bool:
    """Tell whether to compute on a CUDA device; where one is asked for and there is none, say so and do without."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device {device}: choose auto, cpu or cuda")
    if device == "cpu":
        return False
    from xct_pipeline.device import cuda_problem

    problem = cuda_problem()
    if problem:
        level = logging.WARNING if device == "cuda" else logging.INFO
        logging.getLogger("xct").log(level, "--device %s: %s; computing on the processor", device, problem)
    return problem is None
