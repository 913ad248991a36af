"""Digest of the code that a stage runs."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

import vmr

_PACKAGE_ROOT = Path(vmr.__file__).parent
_LOGGERS = ("log", "logger", "_LOG")  # what modules call theirs


def code_digest(entries: Iterable[str], *, without: Iterable[str] = ()) -> str:
    """Digest of the code that stages run: their modules and every module of `vmr` that these import.

    Snakemake does not see edits inside the package; rules carry this digest among their parameters, so that a
    changed stage runs again. It is blind to comments, layout, docstrings, help texts of options and the words of errors
    and log messages, so that those rerun nothing.

    Args:
        entries: dotted names of modules or packages, such as ``"vmr.video.probe"``; or of one function, such as
            ``"vmr.cli.training:train"``: the rest of its module counts as far as the function names it.
        without: modules that are imported but cannot change what the stages give.

    Returns:
        16 hexadecimal digits.

    Raises:
        ModuleNotFoundError: a name is neither a module nor a package of `vmr`, or a module has no such function.
    """
    excluded = {path for name in without for path in _files_of(name)}
    pending = [(path, name) for module, _, name in (e.partition(":") for e in entries) for path in _files_of(module)]
    found: set[tuple[Path, str]] = set()
    while pending:
        piece = pending.pop()
        if piece not in found and piece[0] not in excluded:
            found.add(piece)
            pending.extend(_analyse(*piece)[1])
    digest = hashlib.sha256()
    for path, name in sorted(found):
        digest.update(path.relative_to(_PACKAGE_ROOT).as_posix().encode())
        digest.update(_analyse(path, name)[0].encode())
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


def _files_of(name: str) -> list[Path]:
    parts = name.split(".")
    base = _PACKAGE_ROOT.joinpath(*parts[1:])
    if parts[0] == "vmr" and base.with_suffix(".py").is_file():
        return [base.with_suffix(".py")]
    if parts[0] == "vmr" and base.is_dir():
        return sorted(base.rglob("*.py"))
    raise ModuleNotFoundError(f"no module or package of vmr is called {name}")


@functools.cache
def _analyse(path: Path, name: str = "") -> tuple[str, tuple[tuple[Path, str], ...]]:
    """A canonical form of a module's code, or of what defines a name in it, and the pieces of `vmr` that this uses.

    A piece is a whole file, imported lazily or at its top, or a name in a file.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = _definitions(tree) if name else {}
    if name and name not in top:
        raise ModuleNotFoundError(f"{path} defines no {name}")
    code: ast.AST = top[name] if name else tree
    if isinstance(code, ast.ImportFrom):
        (original,) = (alias.name for alias in code.names if (alias.asname or alias.name) == name)
        whole = [(file, "") for file in _module_file(f"{code.module}.{original}")]
        return "", tuple(whole or ((file, original) for file in _module_file(f"{code.module}")))
    if isinstance(code, ast.FunctionDef):
        # That it is a command brings in the whole program, with its help.
        code.decorator_list = [entry for entry in code.decorator_list if not ast.unparse(entry).count(".command(")]
    used = {(path, other) for other in _names(code) if other in top}
    imported: set[str] = set()
    for node in list(ast.walk(code)):
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
    used |= {(file, "") for module in imported for file in _module_file(module)}
    return ast.dump(code), tuple(sorted(used))


def _definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """The statements at the top of a module by the names that they define; `import` without `from` is left out."""
    found: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.ImportFrom):
            found.update((alias.asname or alias.name, statement) for alias in statement.names)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            found.update((node.id, statement) for node in ast.walk(statement) if _is_set(node))
    return found


def _is_set(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _names(code: ast.AST) -> set[str]:
    """Names that code takes from its module: not its arguments and variables."""
    nodes = list(ast.walk(code))
    own = {node.arg for node in nodes if isinstance(node, ast.arg)} | {node.id for node in nodes if _is_set(node)}
    return {node.id for node in nodes if isinstance(node, ast.Name)} - own


def _leave_out_words(node: ast.AST) -> None:
    """Empty the strings of a `raise`, or of a statement that logs; drop the help of an option."""
    if isinstance(node, ast.Call):
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "help"]
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
    """The file of a module of `vmr` (`__init__.py` for a package); nothing for a name that is defined inside one."""
    package, *parts = name.split(".")
    if package != "vmr":
        return []
    base = _PACKAGE_ROOT.joinpath(*parts)
    return [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()][:1]
