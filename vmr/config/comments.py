"""Comments of `config.yaml`, written from the descriptions of the settings."""

import re
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vmr.config.sections import Settings
from vmr.config.whole import Config
from vmr.settings.checks import inner_type

_ENTRY = re.compile(r"""(?P<indent> *)(?P<key>[\w+-]+):(?P<value>(?:"[^"]*"|'[^']*'|(?<!\s)\#|[^"'#])*)(?:\#.*)?""")


def with_comments(text: str) -> str:
    """A configuration in which each setting has its description as a comment, at the first place where it stands.

    General sections come first, then datasets. Other comments stay as they are, for instance a dataset's own.

    Args:
        text: of the YAML file, in block style; what stands in braces gets no comments.
    """
    lines = text.split("\n")
    places: dict[tuple[type[BaseModel], str], list[tuple[bool, int, str]]] = {}
    path: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            continue
        indent = len(entry["indent"])
        path = [(depth, key) for depth, key in path if depth < indent] + [(indent, entry["key"])]
        found = _setting([key for _, key in path])
        if found is not None and found[2].description:
            model, name, field = found
            of_a_dataset = path[0][1] == "datasets"
            commented = f"{line[: entry.end('value')].rstrip()} # {field.description}"
            places.setdefault((model, name), []).append((of_a_dataset, number, commented))
    for found_lines in places.values():
        _, number, commented = min(found_lines)
        lines[number] = commented
    return "\n".join(lines)


def _setting(path: list[str]) -> tuple[type[BaseModel], str, FieldInfo] | None:
    """The section, name and field that a path of keys leads to; None for a key that is a name, as of a dataset."""
    node: Any = Config
    setting = None
    for key in path:
        setting = None
        if isinstance(node, type) and issubclass(node, BaseModel):
            fields = {field.alias or name: (name, field) for name, field in node.model_fields.items()}
            if key not in fields:
                return None
            name, field = fields[key]
            setting = _owner(node, name), name, field
            node = Settings if name == "overrides" else inner_type(field.annotation)
        elif get_origin(node) is dict:
            node = inner_type(get_args(node)[1])
        else:
            return None
    return setting


def _owner(model: type[BaseModel], name: str) -> type[BaseModel]:
    """The section that a field was written in: its subsections share it."""
    owners = [base for base in model.__mro__ if name in getattr(base, "__annotations__", {})]
    return owners[-1] if owners else model
