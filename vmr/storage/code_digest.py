"""Digest of the code that a stage runs."""

import ast
import functools
import hashlib
import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import vmr
from vmr.storage.files import default_cache, write_json

_PACKAGE_ROOT = Path(vmr.__file__).parent
_LOGGERS = ("log", "logger", "_LOG")  # what modules call theirs
_MOST_KEPT = 5_000  # modules in the cache, some hundred bytes each
_WORDS = ("help", "description")  # arguments that only tell a reader what an option or a setting is


def code_digest(modules: Iterable[str], *, without: Iterable[str] = (), files: Iterable[str] = ()) -> str:
    """Digest, 16 hexadecimal digits, of modules and of every module of `vmr` that they import, at their top or later.

    Snakemake does not see edits inside the package. Rules carry this digest among their parameters, so that a changed
    stage runs again. Comments, layout, docstrings, help texts and the words of errors and log messages do not count.

    Args:
        without: modules or packages that are imported but cannot change the result.
        files: folders below the package whose files count by their bytes, such as ``"report/templates"``.

    Raises:
        ModuleNotFoundError: a name is neither a module nor a package of `vmr`.
    """
    excluded = {path for name in without for path in _files_of(name)}
    pending = [path for name in modules for path in _files_of(name)]
    analyses = _analyses()
    found: set[Path] = set()
    while pending:
        path = pending.pop()
        if path not in found and path not in excluded:
            found.add(path)
            pending.extend(analyses.of(path)[1])
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(f"{path.relative_to(_PACKAGE_ROOT).as_posix()}\0{analyses.of(path)[0]}\0".encode())
    for path in (path for folder in files for path in sorted(_PACKAGE_ROOT.joinpath(folder).iterdir())):
        digest.update(f"{path.name}\0".encode())
        digest.update(path.read_bytes())
    analyses.keep()
    return digest.hexdigest()[:16]


def _files_of(name: str) -> list[Path]:
    found = _module_file(name)
    if not found:
        raise ModuleNotFoundError(f"vmr has no module or package `{name}`")
    return sorted(found[0].parent.rglob("*.py")) if found[0].name == "__init__.py" else found


def _module_file(name: str) -> list[Path]:
    """The file of a module of `vmr` (`__init__.py` of a package); nothing for a name that a module defines."""
    package, *parts = name.split(".")
    base = _PACKAGE_ROOT.joinpath(*parts)
    files = (base.with_suffix(".py"), base / "__init__.py") if package == "vmr" and parts else ()
    return [path for path in files if path.is_file()][:1]


class _Analyses:
    """Digest of each module's code and names of what it imports, by the bytes of its file; kept between processes,
    since a third of a dry run would go into this.
    """

    def __init__(self) -> None:
        self._file = default_cache() / "code.json"
        # What is kept holds for this very analysis and this Python, whose syntax trees differ from others'.
        self._rules = hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).digest()
        self._known: dict[str, tuple[str, list[str]]] = {}
        with suppress(OSError, ValueError):
            self._known = dict(json.loads(self._file.read_text(encoding="utf-8")))
        self._of_files: dict[Path, tuple[str, list[Path]]] = {}
        self._new = False

    def of(self, path: Path) -> tuple[str, list[Path]]:
        """Digest of a module's code, and the files of `vmr` that it imports."""
        if path not in self._of_files:
            content = path.read_bytes()
            key = hashlib.sha256(self._rules + content).hexdigest()
            if key not in self._known:
                self._known[key], self._new = _analyse(content), True
            digest, imported = self._known[key]
            self._of_files[path] = digest, [file for name in imported for file in _module_file(name)]
        return self._of_files[path]

    def keep(self) -> None:
        """Write what is new, where the cache can be written."""
        if self._new:
            with suppress(OSError):
                kept = list(self._known.items())[-_MOST_KEPT:]
                write_json(self._file, dict(kept))
            self._new = False


@functools.cache
def _analyses() -> _Analyses:
    return _Analyses()


def _analyse(content: bytes) -> tuple[str, list[str]]:
    """Digest of a canonical form of a module's code, and names of what may be modules of `vmr` that it imports."""
    tree = ast.parse(content)
    imported: set[str] = set()
    for node in ast.walk(tree):
        _leave_out_words(node)
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module)
            imported.update(f"{node.module}.{alias.name}" for alias in node.names)
    code = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return code, sorted(name for name in imported if name.startswith("vmr."))


def _leave_out_words(node: ast.AST) -> None:
    """Drop docstrings and help texts; empty the strings of a `raise`, or of a statement that logs."""
    said: ast.AST | None = None
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    elif isinstance(node, ast.Call):
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in _WORDS]
    elif isinstance(node, ast.Raise):
        said = node.exc
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in _LOGGERS:
            said = node.value
    for part in ast.walk(said) if said is not None else ():
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            part.value = ""
