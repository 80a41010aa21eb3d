"""Rooms and their doors: who may import whom, and that nothing grows too large to read."""

import ast
import statistics
from pathlib import Path

import pytest

import combiner_codec

PACKAGE = Path(combiner_codec.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "priors" not in path.parts)
ROOMS = {  # room: rooms and modules that it must not import, at any place of a file
    "format": {"encoder", "training", "inspect", "bench", "cli", "decoder", "files"},
    "synthesis": {"format", "encoder", "training", "inspect", "bench", "cli", "decoder", "files"},
    "decoder": {"encoder", "training", "inspect", "bench", "cli", "files", "torch"},
    "encoder": {"training", "inspect", "bench", "cli", "files"},
    "training": {"inspect", "bench", "cli", "files"},
    "inspect": {"training", "bench", "cli", "files", "torch"},
    "bench": {"training", "cli", "files"},
    "files": {"encoder", "training", "inspect", "bench", "cli", "torch"},
    "png": {"format", "synthesis", "decoder", "image", "encoder", "training", "inspect", "bench", "cli", "files"},
    "image": {"format", "synthesis", "decoder", "encoder", "training", "inspect", "bench", "cli", "files", "torch"},
}
COMMAND = ("cli", "encoding", "options", "inputs", "jobs", "files", "terminal", "ranks", "process")
PICTURES = ("image", "png", "profiles", "saving", "webp", "arrays", "planes", "scaling")
TORCH_FREE = ("format", "decoder", "inspect", "errors", "root", *PICTURES)


def room_of(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imports(module: Path, top_level: bool = False) -> set[str]:
    """Rooms of this package, and other packages, that a module imports; with top_level, as soon as it is loaded."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    nodes = _loaded(tree) if top_level else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            above = module.parent.parts[: len(module.parent.parts) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {".".join([*above, name]).split(".")[0] for name in names}
    return found


def _loaded(tree):
    """Statements that run when a module is imported, those under TYPE_CHECKING left out."""
    for node in tree.body:
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if isinstance(node, ast.Try):
            yield from node.body
        elif not typing:
            yield node


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_room_looks_upwards(module):
    barred = ROOMS.get(room_of(module), set())
    assert not imports(module) & (barred | set(COMMAND) if "cli" in barred else barred)


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) in TORCH_FREE + COMMAND], ids=str)
def test_torch_is_not_loaded_with_what_a_decoder_needs(module):
    assert "torch" not in imports(module, top_level=True)


def test_modules_do_not_import_each_other_in_a_circle():
    edges = {m: {target for target in _targets(m) if target != m} for m in MODULES}
    order, left = [], dict(edges)
    while left:
        free = [m for m, targets in left.items() if not targets & left.keys()]
        assert free, f"a circle among {sorted(map(str, left))}"
        order += free
        left = {m: targets for m, targets in left.items() if m not in free}


def _targets(module):
    """Modules of this package that a module imports as soon as it is loaded."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    for node in _loaded(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = Path(*module.parent.parts[: len(module.parent.parts) - node.level + 1])
            base = above / Path(*(node.module or "").split("."))
            names = [base / f"{alias.name}.py" for alias in node.names]
            yield from ({base.parent / f"{base.name}.py", *names} & set(MODULES))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_and_classes_are_small(module):
    text = (PACKAGE / module).read_text(encoding="utf-8")
    assert text.count("\n") <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            assert node.end_lineno - node.lineno < 150, node.name
            assert len(_attributes(node)) <= 12, node.name


def _attributes(cls):
    """Fields of a class and what its methods set on self."""
    own = {n.target.id for n in cls.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    for node in ast.walk(cls):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            own.add(node.attr)
    return own


def test_functions_are_short():
    """Lines of code, docstrings not counted: half of them at most 6, nine in ten at most 20."""
    lengths = []
    for module in MODULES:
        for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lengths.append(node.end_lineno - body[0].lineno + 1 if body else 0)
    assert statistics.median(lengths) <= 6
    assert statistics.quantiles(lengths, n=10)[-1] <= 20
