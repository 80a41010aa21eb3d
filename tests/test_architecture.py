"""Rooms and their doors: who may import whom, and that nothing grows too large to read."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import combiner_codec
from conftest import NIGHT, SLOW

PACKAGE = Path(combiner_codec.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "priors" not in path.parts)
ROOMS = {  # room: rooms, modules and packages that it must not import, at any place of a file
    "format": {"encoder", "training", "inspect", "bench", "command", "decoder", "torch", "PIL"},
    "synthesis": {"format", "encoder", "training", "inspect", "bench", "command", "decoder", "torch", "PIL"},
    "decoder": {"encoder", "training", "inspect", "bench", "command", "torch", "PIL"},
    "encoder": {"training", "inspect", "bench", "command"},
    "training": {"inspect", "bench", "command"},
    "inspect": {"training", "bench", "command", "torch"},
    "bench": {"training", "command"},
    "picture": {"synthesis", "decoder", "encoder", "training", "inspect", "bench", "command", "torch"},
}
EXCEPTIONS = {  # modules that may look further than their room
    "synthesis/torch_ops.py": {"torch"},  # the encoder's and training's
    "picture/pillow_plugin.py": {"decoder", "inspect"},  # a second front door beside the command; Python's own inspect
    "bench/command.py": {"command"},  # the options of `combiner bench`
}
TORCH_FREE = ("format", "decoder", "inspect", "errors", "root", "picture", "command")


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
    barred = ROOMS.get(room_of(module), set()) - EXCEPTIONS.get(module.as_posix(), set())
    assert not imports(module) & barred


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) in TORCH_FREE], ids=str)
def test_torch_is_not_loaded_with_what_a_decoder_needs(module):
    assert "torch" not in imports(module, top_level=True)


def test_decoding_loads_numpy_and_nothing_else():
    others = {"torch", "PIL", "click", "rich", "numpy.random"}
    script = f"import sys, combiner_codec.decoder; print({others} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout == "set()\n"


def test_the_decoder_written_from_the_page_knows_nothing_of_the_package():
    page = Path(__file__).with_name("plain_decoder.py")
    assert "combiner_codec" not in imports(page)


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
def test_no_module_is_too_long_to_read_at_once(module):
    assert (PACKAGE / module).read_text(encoding="utf-8").count("\n") <= 500


def test_the_tests_that_others_leave_out_are_there():
    """Names of conftest.py: of files that `make check` leaves out, of tests that are for the night."""
    files = list(Path(__file__).parent.rglob("test_*.py"))
    assert {path.stem for path in files} >= SLOW
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert all(f"def {name.partition('[')[0]}(" in source for name in NIGHT)
