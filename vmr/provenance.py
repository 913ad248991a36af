"""What made a file: versions of the libraries and a digest of the code that ran."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable
from pathlib import Path

import vmr

_PACKAGE_ROOT = Path(vmr.__file__).parent
_LOGGERS = ("log", "logger", "_LOG")  # what modules call theirs


def code_digest(entries: Iterable[str], *, without: Iterable[str] = ()) -> str:
    """Digest of the code that stages run: their modules and every module of `vmr` that these import.

    Snakemake does not see edits inside the package; rules carry this digest among their parameters, so that a
    changed stage runs again. It is blind to comments, layout, docstrings and the words of errors and log messages, so
    that those rerun nothing.

    Args:
        entries: dotted names of modules or packages, such as ``"vmr.video.probe"``.
        without: modules that are imported but cannot change what the stages give.

    Returns:
        16 hexadecimal digits.

    Raises:
        ModuleNotFoundError: a name is neither a module nor a package of `vmr`.
    """
    excluded = {path for name in without for path in _files_of(name)}
    pending = [path for name in entries for path in _files_of(name)]
    found: set[Path] = set()
    while pending:
        path = pending.pop()
        if path not in found and path not in excluded:
            found.add(path)
            pending.extend(_analyse(path)[1])
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(path.relative_to(_PACKAGE_ROOT).as_posix().encode())
        digest.update(_analyse(path)[0].encode())
    return digest.hexdigest()[:16]


def files_digest(folders: Iterable[str], code: str) -> str:
    """Digest of code together with files of the package that are no Python, such as templates.

    Args:
        folders: folders below the package, such as ``"report/templates"``.
        code: what `code_digest` gave.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(code.encode())
    for folder in folders:
        for path in sorted(_PACKAGE_ROOT.joinpath(folder).iterdir()):
            digest.update(f"{path.name}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def library_versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions of the named distributions, and of Python, for the provenance of a file."""
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _files_of(name: str) -> list[Path]:
    parts = name.split(".")
    base = _PACKAGE_ROOT.joinpath(*parts[1:])
    if parts[0] == "vmr" and base.with_suffix(".py").is_file():
        return [base.with_suffix(".py")]
    if parts[0] == "vmr" and base.is_dir():
        return sorted(base.rglob("*.py"))
    raise ModuleNotFoundError(f"no module or package of vmr is called {name}")


@functools.cache
def _analyse(path: Path) -> tuple[str, tuple[Path, ...]]:
    """A canonical form of a module's code, and the files of `vmr` that it imports, lazily or at its top."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported: set[str] = set()
    for node in list(ast.walk(tree)):
        _leave_out_words(node)
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module)
            imported.update(f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:] or [ast.Pass()]
    files = {file for name in imported if name.split(".")[0] == "vmr" for file in _module_file(name)}
    return ast.dump(tree), tuple(sorted(files))


def _leave_out_words(node: ast.AST) -> None:
    """Empty the strings of a `raise`, or of a statement that logs."""
    said: ast.AST | None = None
    if isinstance(node, ast.Raise):
        said = node.exc
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in _LOGGERS:
            said = node.value
    for part in ast.walk(said) if said is not None else ():
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            part.value = ""


def _module_file(name: str) -> list[Path]:
    """The file of a module (`__init__.py` for a package); nothing for a name that is defined inside one."""
    base = _PACKAGE_ROOT.joinpath(*name.split(".")[1:])
    return [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()][:1]
