"""The reference of all keys, as a JSON schema for editors and as a page of the documentation, from the models alone."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from xct_pipeline.config.run import Config
from xct_pipeline.config.section import Section

Node = Mapping[str, Any]

HEAD = """# Configuration

Every table and key of `run.toml`, made from the models that check it (`xct schema --markdown`; `xct schema` prints a
JSON schema for editors). Keys without a default have to be given. What to choose, and why, stands on the page of each
stage.
"""


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a configuration file."""
    found = Config.model_json_schema()
    nodes = {**found["$defs"], Config.__name__: found}
    for table in _all_of(Section):
        for key, text in _meanings(table).items():  # those of what it inherits come first
            value = nodes.get(table.__name__, {}).get("properties", {}).get(key)
            if value is not None and "description" not in value:
                value["description"] = text
                nodes[table.__name__]["properties"][key] = dict(sorted(value.items()))
    del found["properties"]["folder"]  # where the file lies: not in the file
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "xct_pipeline run.toml"}


def _all_of(table: type[Section]) -> Iterator[type[Section]]:
    yield table
    for narrower in table.__subclasses__():
        yield from _all_of(narrower)


def _meanings(table: type[Section]) -> dict[str, str]:
    """Return what stands below each key of a table in the source, which to read at every start would take long."""
    found: dict[str, str] = {}
    for part in (part for part in reversed(table.__mro__) if issubclass(part, Section)):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        assert isinstance(tree, ast.ClassDef)
        for key, below in itertools.pairwise(tree.body):
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name) and isinstance(below, ast.Expr):
                found[key.target.id] = inspect.cleandoc(ast.literal_eval(below.value))
    return found


def markdown() -> str:
    """Return the page ``docs/configuration.md``."""
    whole = schema()
    return "\n".join([HEAD, *_table("", whole, whole["$defs"], set())]).rstrip() + "\n"


def _table(path: str, node: Node, defs: Node, told: set[tuple[str, str]]) -> Iterator[str]:
    """Yield a heading and the keys of a table, and then the tables inside it; what several methods share once."""
    if (path, node["title"]) in told:
        return
    told.add((path, node["title"]))
    method = node["properties"].get("method", {}).get("const")
    which = f" with `method = {json.dumps(method)}`" if method else ""
    if not method and any(before == path for before, _ in told - {(path, node["title"])}):
        which = f", or as {re.sub('(?<=[a-z])(?=[A-Z])', ' ', node['title']).lower()}"
    yield f"## {f'`[{path}]`' if path else 'The file'}{which}\n"
    if path:
        yield f"{_one_line(node.get('description', ''))}\n"
    required = node.get("required", ())
    rows, inner = [], []
    for key, value in node["properties"].items():
        tables = list(_tables(value, defs))
        inner += [(f"{path}.{key}".lstrip(".") + suffix, table) for suffix, table in tables]
        default = "" if key in required else _default(value, tables)
        rows.append(f"| `{key}` | {_kind(value, defs)} | {default} | {_one_line(value['description'])} |")
    yield "\n".join(["| key | value | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])
    for where, table in inner:
        yield from _table(where, table, defs, told)


def _tables(value: Node, defs: Node) -> Iterator[tuple[str, Node]]:
    """Yield the tables that a value may be, with what is added to its path: ``.NAME`` in a table of tables."""
    if "$ref" in value:
        yield "", defs[value["$ref"].rsplit("/", 1)[-1]]
    for branch in (*value.get("anyOf", ()), *value.get("oneOf", ())):
        yield from _tables(branch, defs)
    if isinstance(value.get("items"), Mapping):
        yield from _tables(value["items"], defs)
    if isinstance(value.get("additionalProperties"), Mapping):
        yield from ((f".NAME{suffix}", table) for suffix, table in _tables(value["additionalProperties"], defs))


def _default(value: Node, tables: list[tuple[str, Node]]) -> str:
    default = value.get("default")
    if default is None:
        return "none"
    if isinstance(default, Mapping) and tables:
        return f"`{default['method']}`" if "method" in default else ""
    return f"`{json.dumps(default)}`"


def _kind(value: Node, defs: Node) -> str:
    """Return in words what a value may be."""
    if "$ref" in value:
        table = defs[value["$ref"].rsplit("/", 1)[-1]]
        method = table["properties"].get("method", {}).get("const")
        return f"table, `{method}`" if method else "table"
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return ", ".join(f"`{json.dumps(item)}`" for item in value["enum"])
    branches = [b for b in (*value.get("anyOf", ()), *value.get("oneOf", ())) if b.get("type") != "null"]
    if branches:
        return " or ".join(dict.fromkeys(_kind(branch, defs) for branch in branches))
    match value.get("type"):
        case "array":
            items = value.get("prefixItems")
            if items:
                return f"[{', '.join(_kind(item, defs) for item in items)}]"
            return f"list of {_kind(value['items'], defs)}" if value.get("items") else "list"
        case "object":
            inner = value.get("additionalProperties")
            return f"table of {_kind(inner, defs)} by name" if isinstance(inner, Mapping) else "table"
        case "number" | "integer":
            return f"{value['type']}{_bounds(value)}"
        case str():
            return str(value["type"])
    return "see meaning"


def _bounds(value: Node) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return "".join(f" {sign} {value[key]:g}" for key, sign in signs.items() if key in value)


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
