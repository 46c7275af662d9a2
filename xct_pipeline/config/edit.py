"""Changing a configuration file in place: values change, comments and order stay."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from xct_pipeline.config import Config
from xct_pipeline.config.file import TOO_DEEP, ConfigError, parse_config, read_text
from xct_pipeline.store.files import write_atomic


def update_config(path: str | os.PathLike[str], changes: Mapping[str, Any]) -> Config:
    """Change keys of a configuration file.

    The new text is checked before the file is touched, and the file is replaced in one step.

    Parameters
    ----------
    path : path
        A TOML file.
    changes : mapping
        Dotted keys to values, ``{"reconstruction.center": 81.25, "correction.stripe": {"method": "sorting"}}``. A
        mapping replaces the whole table (keys that stay keep their comments), None removes the key.

    Returns
    -------
    Config
        As `load_config` would return it.

    Raises
    ------
    ConfigError
        The file cannot be read, or it would be wrong after the change; then it is left as it was.
    """
    file = Path(path)
    text = read_text(file)
    changed = change_text(text, changes, str(file))
    config = parse_text(changed, file.parent, str(file))
    if changed != text:
        write_atomic(file, changed.encode())
    return config


def change_text(text: str, changes: Mapping[str, Any], source: str = "configuration") -> str:
    """Return a configuration's text with `changes` made; see `update_config`."""
    document = _document(text, source)
    made: list[str] = []
    for key, value in changes.items():
        *parents, last = key.split(".")
        table: Any = document
        for depth, name in enumerate(parents, start=1):
            if name not in table:
                if value is None:
                    break
                inner = depth < len(parents) or isinstance(value, Mapping)
                table[name] = tomlkit.table(is_super_table=inner)
                made += [] if inner else [".".join(parents)]
            table = table[name]
            if not isinstance(table, Mapping):
                raise ConfigError(source, [f"{key}: {name} is a value, not a table"])
        else:
            if isinstance(value, Mapping) and not isinstance(table.get(last), Mapping):
                table.pop(last, None)
                if isinstance(table, (Table, tomlkit.TOMLDocument)):
                    table[last] = tomlkit.table()
                    made.append(key)
            _set(table, last, value)
    return _spaced(tomlkit.dumps(document), made)


def _spaced(text: str, headers: list[str]) -> str:
    """Put an empty line before tables that were made, and after them."""
    lines = text.split("\n")
    for header in headers:
        if f"[{header}]" not in lines:
            continue
        here = lines.index(f"[{header}]")
        after = next((k for k in range(here + 1, len(lines)) if lines[k].startswith("[")), 0)
        for place in (after, here):
            if place and lines[place - 1].strip():
                lines.insert(place, "")
    return "\n".join(lines)


def parse_text(text: str, folder: Path, source: str = "configuration") -> Config:
    """Check the text of a configuration; see `config_file.load_config`."""
    return parse_config(_document(text, source).unwrap(), folder, source)


def _document(text: str, source: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except RecursionError:
        raise ConfigError(source, [TOO_DEEP]) from None
    except (TOMLKitError, ValueError) as error:
        raise ConfigError(source, [f"not valid TOML: {error}"]) from None


def _set(table: Any, key: str, value: Any) -> None:
    if value is None:
        if key in table:
            del table[key]
    elif isinstance(table.get(key), Table) and isinstance(value, Mapping):
        for gone in [name for name in table[key] if name not in value]:
            del table[key][gone]
        for name, item in value.items():
            _set(table[key], name, item)
    else:
        item = _item(value)
        old = table.get(key)
        if hasattr(old, "trivia"):  # the comment behind the old value stays
            item.trivia.comment_ws, item.trivia.comment = old.trivia.comment_ws, old.trivia.comment
        table[key] = item


def _item(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return tomlkit.item(list(value) if isinstance(value, tuple) else value)
    inline = tomlkit.inline_table()
    for name, inner in value.items():
        inline[name] = _item(inner)
    return inline
