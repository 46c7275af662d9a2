"""Reading a configuration: every error at once, each in one line with the nearest known name."""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from xct_pipeline.config import Config
from xct_pipeline.config.lines import located
from xct_pipeline.config.section import with_absolute_paths
from xct_pipeline.inputs import MOST_LINES, first_of, read_bytes

MOST_BYTES = 4 * 2**20  # of a configuration
MOST_MENDED = 100  # errors of a configuration beside which others are looked for
DEEPEST = 12  # levels of tables and lists in each other
TOO_DEEP = f"tables and lists lie in each other more than {DEEPEST} deep"


class ConfigError(ValueError):
    """A configuration that cannot be used; `problems` lists everything that is wrong with it."""

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        lines = "\n".join(f"  {problem}" for problem in first_of(problems))
        super().__init__(f"{source}: {len(problems)} error{'s' * (len(problems) > 1)}\n{lines}")


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read a configuration.

    Parameters
    ----------
    path : path
        A TOML file.

    Returns
    -------
    Config
        Frozen; relative paths are taken from the file's folder.

    Raises
    ------
    ConfigError
        The file cannot be read or is wrong: every error at once, each with the nearest known name.
    """
    file = Path(path)
    text = read_text(file)
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(str(file), [TOO_DEEP]) from None
    except ValueError as error:  # not of TOML alone: a number of a million digits is one too
        raise ConfigError(str(file), [f"not valid TOML: {error}"]) from None
    try:
        return parse_config(data, folder=file.parent, source=str(file))
    except ConfigError as error:
        raise ConfigError(str(file), located(error.problems, text)) from None


def read_text(file: Path) -> str:
    """Return the text of a configuration.

    Raises
    ------
    ConfigError
        It cannot be read, is no regular file, too large, or no text.
    """
    try:
        return read_bytes(file, MOST_BYTES).decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise ConfigError(str(file), [error.strerror or str(error)]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), [f"not valid TOML: {error}"]) from None
    except ValueError as error:
        raise ConfigError(str(file), [str(error).removeprefix(f"{file}: ")]) from None


def load_sound(path: str | os.PathLike[str]) -> tuple[Config | None, list[str]]:
    """Read what is sound in a wrong configuration, so that errors of files are told with those of the settings.

    Returns
    -------
    config : Config or None
        Without the keys that are unknown and the tables that are wrong; None where nothing of use is left.
    problems : list of str
        What is wrong beside that, seen once unknown keys are out.
    """
    folder = Path(path).parent
    try:
        data: dict[str, Any] = {"output": "-", **tomllib.loads(read_text(Path(path)))}
    except (OSError, ValueError, RecursionError):  # ConfigError is a ValueError
        return None, []
    problems: dict[str, None] = {}
    only_unknown = True
    for _ in range(4):
        try:
            return parse_config(data, folder), list(problems)
        except ConfigError as error:
            found = error.__context__
            if not isinstance(found, ValidationError):
                return None, list(problems)
            if len(error.problems) > MOST_MENDED:
                return None, list(problems)
            problems |= dict.fromkeys(error.problems) if only_unknown else {}
            kinds = {item["type"] == "extra_forbidden" for item in found.errors(include_url=False)}
            only_unknown = only_unknown and kinds == {True}
            dropped = [_dropped(data, item) for item in found.errors(include_url=False)]
            if not all(dropped):
                return None, list(problems)
    return None, list(problems)


def _dropped(data: dict[str, Any], item: Any) -> bool:
    """Drop an unknown key, or the table in which a value is wrong; tell whether scans can still be opened."""
    keys = _keys(item["loc"])
    if not keys:
        return False
    depth = 1
    if item["type"] == "extra_forbidden":
        depth = len(keys)
    elif keys[0] == "acquisition" and len(keys) > 1:
        depth = 2
    if keys[:depth] in (["acquisition"], ["acquisition", "scans"], ["acquisition", "tiff"]):
        return False
    holder: Any = data
    for key in keys[: depth - 1]:
        holder = holder.get(key) if isinstance(holder, dict) else holder[key] if isinstance(key, int) else None
        if not isinstance(holder, dict | list):
            return True
    if isinstance(holder, dict):
        holder.pop(keys[depth - 1], None)
    return True


def parse_config(data: dict[str, Any], folder: Path = Path("."), source: str = "configuration") -> Config:
    """Check a configuration that is already a dictionary; see `load_config`."""
    if "folder" in data:
        raise ConfigError(source, ["folder: unknown key"])
    if _deeper_than(data, DEEPEST):
        raise ConfigError(source, [TOO_DEEP])
    try:
        config = Config.model_validate({**data, "folder": folder})
    except ValidationError as error:
        raise ConfigError(source, describe(error)) from None
    checked: Config = with_absolute_paths(config, config.resolve)
    return checked


def _deeper_than(value: Any, levels: int) -> bool:
    """Tell whether tables and lists lie in each other more deeply than any configuration needs."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(inner) and (levels == 0 or any(_deeper_than(item, levels - 1) for item in inner))


def describe(error: ValidationError) -> list[str]:
    """Turn pydantic's errors into one sentence each, without repetitions of a union's branches."""
    lines: dict[str, None] = {}
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in _keys(item["loc"]))
        match item["type"]:
            case "extra_forbidden":
                line = f"{where}: unknown key"
                if len(lines) <= MOST_LINES:  # a thousand are not shown, and to find near names takes time
                    line += _did_you_mean(str(item["loc"][-1]), _known_keys(item["loc"]))
            case "missing":
                line = f"{where}: missing"
            case "union_tag_invalid":
                given = str(item.get("ctx", {}).get("tag"))
                tags = [t.strip("' ") for t in str(item.get("ctx", {}).get("expected_tags", "")).split(",")]
                line = f"{where}.method = {given!r}: unknown{_did_you_mean(given, tags)} (one of {', '.join(tags)})"
            case "union_tag_not_found":
                line = f"{where}: say which method"
            case _:
                given = repr(item.get("input"))
                shown = f" = {given}" if len(given) < 60 and not isinstance(item.get("input"), dict) else ""
                line = f"{where}{shown}: {item['msg'].removeprefix('Value error, ')}"
        line = line.removeprefix(": ")  # of the file as a whole
        lines[line] = None
    return list(lines)


def _keys(location: tuple[int | str, ...]) -> list[int | str]:
    """Drop what pydantic adds for unions: the tag of the branch and the names of types."""
    keys: list[int | str] = []
    annotation: Any = Config
    for part in location:
        inner = _entry(annotation, part)
        if inner is not None or (part == location[-1] and not _is_branch(annotation, part)):
            keys.append(part)
        annotation = inner or _branch(annotation, part)
    return keys


def _entry(annotation: Any, key: int | str) -> Any:
    """Return the annotation of what a key of the file leads to; None where the key is not one of the file."""
    if isinstance(key, int):
        return annotation
    tables = [a for a in (annotation, *get_args(annotation)) if get_origin(a) is dict]
    if tables:
        return get_args(tables[0])[1]
    field = _fields(annotation).get(key)
    return None if field is None else field.annotation


def _branch(annotation: Any, part: int | str) -> Any:
    """Return the branch of a union that pydantic names by its tag or type, or the union itself."""
    branches = [m for m in _models(annotation) if part in (m.__name__, *_tags(m))]
    return branches[0] if branches else annotation


def _is_branch(annotation: Any, part: int | str) -> bool:
    return _branch(annotation, part) is not annotation or any(c in str(part) for c in "[(,")


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("method")
    return get_args(field.annotation) if field else ()


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return every model inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _fields(annotation: Any) -> dict[str, Any]:
    return {name: field for model in _models(annotation) for name, field in model.model_fields.items()}


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    annotation: Any = Config
    for part in location[:-1]:
        annotation = _entry(annotation, part) or _branch(annotation, part)
    return [name for name in _fields(annotation) if name != "folder"]


def _did_you_mean(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]}?"
    return f" (known here: {', '.join(known)})" if len(known) <= 12 else ""
