"""Plain YAML in which no key stands twice (the library keeps the last one without a word), and that stays small."""

from typing import Any

import yaml

_DEEPEST = 50  # sections in sections; the library's recursion ends at some hundreds
_MOST_VALUES = 100_000  # with what aliases stand for: nine lists of nine aliases each would be a billion


class _Loader(yaml.SafeLoader):
    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._values = 0
        self._sizes: dict[str, int] = {}  # values behind each anchor

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event, before = self.peek_event(), self._values  # type: ignore[no-untyped-call]
        anchor = event.anchor
        if isinstance(event, yaml.AliasEvent):
            if anchor in self.anchors and anchor not in self._sizes:
                raise _refused(f"`*{anchor}` stands inside of what it stands for", event)
            self._values += self._sizes.get(anchor, 0)
        self._values += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _refused(f"it is nested more than {_DEEPEST} deep", event)
        if self._values > _MOST_VALUES:
            raise _refused(f"it holds more than {_MOST_VALUES:,} values, those behind its aliases counted", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if anchor and not isinstance(event, yaml.AliasEvent):
            self._sizes[anchor] = self._values - before
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise _refused(f"`{key.value}` stands twice in one section; remove one", key)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _refused(problem: str, where: yaml.Event | yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, where.start_mark)  # type: ignore[arg-type]


def load_once(text: str) -> Any:
    """What a text of plain YAML holds.

    Raises:
        yaml.YAMLError: it is none, a key stands twice in a mapping, or it is too deep or too large.
    """
    return yaml.load(text, Loader=_Loader)
