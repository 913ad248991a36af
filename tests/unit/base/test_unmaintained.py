"""Libraries that nobody maintains any more are imported in one module each, so that each can be replaced there."""

import ast
from pathlib import Path

import pytest

import vmr

PACKAGE = Path(vmr.__file__).parent


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in names | {getattr(node, "module", None) or "" for node in nodes}}


@pytest.mark.parametrize(
    ("library", "module"),
    [
        ("decord", "video/decord_server.py"),
        ("ffmpeg", "video/stream.py"),
        ("pytorchvideo", "features/pytorchvideo_calls.py"),
    ],
)
def test_a_library_that_nobody_maintains_is_imported_in_one_module(library, module):
    found = [str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if library in imported(path)]
    assert found == [module]
