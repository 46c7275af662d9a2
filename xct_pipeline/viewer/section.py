"""A choice of method with its parameters as form fields, made from the configuration's own models."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, Container, LineEdit
from pydantic import BaseModel, ValidationError

from xct_pipeline.config.file import describe

if TYPE_CHECKING:
    from magicgui.widgets import Widget


class MethodEditor(Container):  # type: ignore[misc]
    """One method out of a union of sections, and its parameters.

    Numbers are text fields, so that what is written is what was typed; an empty field is the default.

    Parameters
    ----------
    name : str
        Of the step.
    union : annotation
        The configuration's discriminated union.
    kept : sequence of str
        Parameters that are not shown but stay as they are.
    """

    def __init__(self, name: str, union: object, kept: Sequence[str] = ()) -> None:
        self.models = {
            tag: model for model in members(union) for tag in get_args(model.model_fields["method"].annotation)
        }
        self.method = ComboBox(label="method", choices=list(self.models))
        self.fields: dict[str, Any] = {}
        self.kept, self.hidden = tuple(kept), dict[str, Any]()
        super().__init__(widgets=[self.method], labels=True, label=name, name=name)
        self.margins = (0, 0, 0, 0)
        self.method.changed.connect(self._other_method)

    def _other_method(self) -> None:
        self._fill({})
        self.changed.emit(self)  # listeners heard of the method before its fields were there

    def _fill(self, values: dict[str, Any]) -> None:
        for field in self.fields.values():
            self.remove(field)
        model = self.models[self.method.value]
        self.fields = {
            key: _field(key, model, values) for key in model.model_fields if key not in ("method", *self.kept)
        }
        self.extend(self.fields.values())

    def show(self, section: BaseModel) -> None:
        """Take over a section of a configuration."""
        values = section.model_dump()
        stated = section.model_fields_set & set(self.kept)
        self.hidden = section.model_dump(mode="json", include=stated, exclude_none=True)
        with self.changed.blocked():
            with self.method.changed.blocked():
                self.method.value = values.pop("method")
            self._fill(values)

    def table(self) -> dict[str, Any]:
        """Return the method and the parameters that were given, as TOML holds them."""
        model = self.models[self.method.value]
        shown = {key: field for key, field in self.fields.items() if key in model.model_fields}
        given = {key: _value(field, model.model_fields[key].annotation) for key, field in shown.items()}
        hidden = {key: value for key, value in self.hidden.items() if key in model.model_fields}
        return {"method": self.method.value, **{k: v for k, v in given.items() if v is not None}, **hidden}

    def section(self) -> BaseModel:
        """Return the parameters checked.

        Raises
        ------
        ValueError
            A parameter is missing or impossible.
        """
        try:
            return self.models[self.method.value].model_validate(self.table())
        except ValidationError as error:
            text = "; ".join(describe(error))
            raise ValueError(f"{self.name}, {self.method.value}: {text}") from None


class FormFields(Container):  # type: ignore[misc]
    """Some fields of one section.

    Parameters
    ----------
    model : type of section
    keys : sequence of str
        Fields shown, in this order.
    """

    def __init__(self, model: type[BaseModel], keys: Sequence[str]) -> None:
        self.model = model
        self.fields = {key: _field(key, model, {}) for key in keys}
        super().__init__(widgets=list(self.fields.values()), labels=True)
        self.margins = (0, 0, 0, 0)

    def show(self, section: BaseModel) -> None:
        """Take over a section of a configuration."""
        values = section.model_dump()
        with self.changed.blocked():
            for key, field in self.fields.items():
                field.value = _text(values[key]) if isinstance(field, LineEdit) else values[key]

    def values(self) -> dict[str, Any]:
        """Return what the fields hold, None for an empty one."""
        return {key: _value(field, self.model.model_fields[key].annotation) for key, field in self.fields.items()}

    def differences(self, saved: BaseModel) -> dict[str, Any]:
        """Return the fields that differ from a section."""
        old = saved.model_dump(mode="json")
        return {key: value for key, value in self.values().items() if value != old[key]}


def members(annotation: object) -> list[type[BaseModel]]:
    """Return the sections of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in members(part)]


def _field(key: str, model: type[BaseModel], values: dict[str, Any]) -> Any:
    info = model.model_fields[key]
    value = values.get(key, None if info.is_required() else info.default)
    choices = _choices(info.annotation)
    if choices:
        return ComboBox(label=key, choices=choices, value=value)
    if info.annotation is bool:
        return CheckBox(label=key, value=bool(value))
    return LineEdit(label=key, value=_text(value))


def _choices(annotation: object) -> list[Any]:
    return list(get_args(annotation)) if get_origin(annotation) is Literal else []


def _text(value: object) -> str:
    if value is None:
        return ""
    return (
        ", ".join(map(_text, value))
        if isinstance(value, (list, tuple))
        else repr(value)
        if isinstance(value, float)
        else str(value)
    )


def _value(field: Widget, annotation: object) -> Any:
    """Return what a field holds as the type that the configuration wants; text that does not fit stays text."""
    if not isinstance(field, LineEdit):
        return field.value
    text = field.value.strip()
    if not text:
        return None
    kinds = _kinds(annotation)
    if list in kinds or tuple in kinds:
        return [_number(part, kinds) for part in text.replace("[", "").replace("]", "").split(",")]
    return _number(text, kinds)


def _kinds(annotation: object) -> set[Any]:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType, Annotated):
        return set().union(*(_kinds(part) for part in get_args(annotation)))
    return {origin or annotation, *get_args(annotation)} if origin else {annotation}


def _number(text: str, kinds: set[Any]) -> Any:
    if str in kinds and not kinds & {int, float}:
        return text.strip()
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return float(value) if kind is int and int not in kinds else value
    return text.strip()
