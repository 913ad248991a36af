"""Plain YAML in which no key stands twice: the library keeps the last one without a word."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"`{key.value}` stands twice in one section; remove one", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def load_once(text: str) -> Any:
    """What a text of plain YAML holds.

    Raises:
        yaml.YAMLError: it is none, or a key stands twice in a mapping.
    """
    return yaml.load(text, Loader=_Loader)
