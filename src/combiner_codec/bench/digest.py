"""Which code makes a file: unreleased code has no version, and results of several codes must not be mixed."""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
ENDS = ("encoder.kinds", "decoder")  # what makes a file, and what shows it; what they import decides with them


@cache
def code_digest() -> str:
    """Digest of all code of this package that decides a file: 8 hexadecimal digits."""
    return digest_of({name: _path(name).read_text(encoding="utf-8") for name in deciding_modules()})


def digest_of(sources: Mapping[str, str]) -> str:
    """Digest of modules' sources by name; comments, docstrings and layout do not count."""
    total = hashlib.sha256()
    for name, source in sorted(sources.items()):
        total.update(name.encode() + ast.dump(_without_docstrings(ast.parse(source))).encode())
    return total.hexdigest()[:8]


@cache
def deciding_modules() -> tuple[str, ...]:
    """Names within the package of ENDS and of all modules that they import, directly or through others."""
    found, waiting = set(), list(ENDS)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += imported(name, ast.parse(_path(name).read_text(encoding="utf-8")))
    return tuple(sorted(found))


def imported(name: str, tree: ast.Module) -> Iterator[str]:
    """Modules of the package that the module of this name imports, `__init__` files left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = name.split(".")[: -node.level]
            base = above + (node.module.split(".") if node.module else [])
            names = [".".join(base), *(".".join([*base, alias.name]) for alias in node.names)]
            yield from (one for one in names if one and _path(one).is_file())


def _path(name: str) -> Path:
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py")


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [statement for statement in body if not _is_text(statement)]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
