"""Changing a configuration file in place: values change, comments and order stay."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from xct_pipeline.config import Config
from xct_pipeline.config_file import ConfigError, parse_config
from xct_pipeline.store import write_atomic


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
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), [getattr(error, "strerror", None) or str(error)]) from None
    changed = change_text(text, changes, str(file))
    config = parse_text(changed, file.parent, str(file))
    if changed != text:
        write_atomic(file, changed.encode())
    return config


def change_text(text: str, changes: Mapping[str, Any], source: str = "configuration") -> str:
    """Return a configuration's text with `changes` made; see `update_config`."""
    document = _document(text, source)
    for key, value in changes.items():
        *parents, last = key.split(".")
        table: Any = document
        for name in parents:
            if name not in table:
                if value is None:
                    break
                table[name] = tomlkit.table(is_super_table=name != parents[-1])
            table = table[name]
            if not isinstance(table, Mapping):
                raise ConfigError(source, [f"{key}: {name} is a value, not a table"])
        else:
            _set(table, last, value)
    return tomlkit.dumps(document)


def parse_text(text: str, folder: Path, source: str = "configuration") -> Config:
    """Check the text of a configuration; see `config_file.load_config`."""
    return parse_config(_document(text, source).unwrap(), folder, source)


def _document(text: str, source: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(source, [f"not valid TOML: {error}"]) from None


def _set(table: Any, key: str, value: Any) -> None:
    if value is None:
        if key in table:
            del table[key]
    elif isinstance(value, Mapping):
        if not isinstance(table.get(key), Mapping):
            table.pop(key, None)
            table[key] = tomlkit.table()
        for gone in [name for name in table[key] if name not in value]:
            del table[key][gone]
        for name, item in value.items():
            _set(table[key], name, item)
    else:
        item = tomlkit.item(list(value) if isinstance(value, tuple) else value)
        old = table.get(key)
        if hasattr(old, "trivia"):  # the comment behind the old value stays
            item.trivia.comment_ws, item.trivia.comment = old.trivia.comment_ws, old.trivia.comment
        table[key] = item
