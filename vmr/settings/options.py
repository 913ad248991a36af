"""Options of commands from sections of settings: name, type, default, range and help are written in the section."""

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from pydantic.fields import FieldInfo

from vmr.settings.assignments import assignments
from vmr.settings.checks import inner_type, validated
from vmr.settings.section import Section

_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Fields:
    """Which settings of a section become options of a command, as `Annotated[VideoSettings, Fields("fps")]`.

    Args:
        only: names of these settings; without any, all of the section.
        without: settings that the command leaves at their defaults.
        paths: settings that name an asset or a file in the configuration, and a file here; with the help to show.
        argument: the setting that the command takes without a name.
    """

    def __init__(
        self,
        *only: str,
        without: tuple[str, ...] = (),
        paths: Mapping[str, str] | None = None,
        argument: str | None = None,
    ) -> None:
        self.only, self.without, self.paths, self.argument = only, without, paths or {}, argument

    def of(self, section: type[Section]) -> dict[str, FieldInfo]:
        """The chosen settings of a section by name.

        Raises:
            TypeError: the section has no setting of a name, or one that is left out has no default.
        """
        known = section.model_fields
        if unknown := {*self.only, *self.without, *self.paths} - set(known):
            raise TypeError(f"{section.__name__} has no setting {', '.join(sorted(unknown))}")
        chosen = [name for name in self.only or known if name not in self.without]
        if absent := [name for name, field in known.items() if field.is_required() and name not in chosen]:
            raise TypeError(f"{section.__name__}: {', '.join(absent)} has no default, so the command needs the option")
        return {name: known[name] for name in chosen}


def options_from_sections(
    command: Callable[..., None], *, known: Mapping[str, Any] | None = None
) -> Callable[..., None]:
    """Give a command the settings of its sections as options, and give its function each section filled.

    A field may name a variable of the environment that stands in for its option, as `json_schema_extra["envvar"]`.

    A parameter whose type is a section, maybe `Annotated` with `Fields`, makes an option of each setting. Its values
    are checked by the section before the function is called. So a wrong value is refused as in `config.yaml`.

    Args:
        known: what its annotations name, beside what its module does.

    Raises:
        TypeError: two options have one name.
    """
    hints = get_type_hints(command, localns=dict(known or {}), include_extras=True)
    sections: dict[str, tuple[type[Section], dict[str, FieldInfo]]] = {}
    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        section, marks = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
        if not (isinstance(section, type) and issubclass(section, Section)):
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        fields = next((mark for mark in marks if isinstance(mark, Fields)), Fields())
        sections[parameter.name] = section, fields.of(section)
        for name, field in fields.of(section).items():
            kind = typer.Argument if name == fields.argument else typer.Option
            parameters.append(_parameter(name, field, kind, path_help=fields.paths.get(name)))
    names = [parameter.name for parameter in parameters]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TypeError(f"{command.__name__}: two options are called {', '.join(twice)}")

    @functools.wraps(command)
    def filled(*, context: typer.Context, **values: Any) -> None:
        for parameter, (section, fields) in sections.items():
            given = {name: _plain_value(values.pop(name), field, name) for name, field in fields.items()}
            values[parameter] = validated(section, given, _command_name(context))
        command(**values)

    del filled.__wrapped__  # typer would ask the function itself for its types
    filled.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    filled.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return filled


def _parameter(
    name: str, field: FieldInfo, given_as: Callable[..., Any], *, path_help: str | None
) -> inspect.Parameter:
    optional = NoneType in get_args(field.annotation)
    kind: Any = _option_type(field.annotation)
    default: Any = inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
    if path_help is not None:
        kind = Path | None if optional else Path
        default = None if optional else inspect.Parameter.empty
    elif get_origin(inner_type(field.annotation)) is dict:
        default = [f"{key}={value}" for key, value in (default or {}).items()]
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    annotation = Annotated[kind, given_as(help=path_help or _help(field), envvar=extra.get("envvar"))]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _help(field: FieldInfo) -> str:
    """The description and the range, such as "Frames a second. (> 0, <= 240)"."""
    bounds = [
        f"{sign} {getattr(bound, attribute)}"
        for bound in field.metadata
        for attribute, sign in _BOUNDS.items()
        if hasattr(bound, attribute)
    ]
    return " ".join([*filter(None, [field.description]), *([f"({', '.join(bounds)})"] if bounds else [])])


def _option_type(kind: Any) -> Any:
    """A field's type without the checks inside it; a mapping is an option that is given once for each name."""
    inner = inner_type(kind)
    if NoneType in get_args(kind):
        return _option_type(inner) | None
    if get_origin(inner) is dict:
        return list[str]
    if get_origin(inner) is list:
        return list[_option_type(get_args(inner)[0])]  # type: ignore[misc]
    return inner


def _plain_value(value: Any, field: FieldInfo, name: str) -> Any:
    """An option's value as the section takes it."""
    if isinstance(value, Path):
        # With a folder, so that no name of a file is taken for that of an asset.
        return str(value) if value.name != str(value) else f"./{value}"
    if get_origin(inner_type(field.annotation)) is dict:
        return assignments(value, f"--{name.replace('_', '-')}")
    return value


def _command_name(context: Any) -> str:
    """The words that call a command: "vmr features import", whatever the program was started as."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(["vmr", *names])
