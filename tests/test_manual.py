"""docs/cli.md, shell completion, and the version."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import combiner_codec
from scripts import manual

ROOT = Path(__file__).parents[1]
COMBINER = str(Path(sys.executable).parent / "combiner")


def test_the_manual_is_up_to_date():
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == manual.manual(), "run make docs"


@pytest.mark.parametrize(("words", "found"), [("combiner enc", "encode"), ("combiner encode --eff", "--effort"),
                                              ("combiner encode --effort n", "normal")])  # fmt: skip
def test_shell_completion(words, found):
    last = str(len(words.split()) - 1)
    state = {"_COMBINER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": last}
    done = subprocess.run([COMBINER], env=os.environ | state, capture_output=True, text=True)
    assert done.stdout == f"plain,{found}\n", done.stderr


def test_the_version_stands_in_one_place():
    written = [p for p in [ROOT / "pyproject.toml", *(ROOT / "src").rglob("*.py")]
               if re.search(r"""version_*["']?\s*=\s*["'][\d.]+["']""", p.read_text(encoding="utf-8"))]  # fmt: skip
    assert written == [ROOT / "src" / "combiner_codec" / "__init__.py"]
    done = subprocess.run([COMBINER, "--version"], capture_output=True, text=True)
    assert done.stdout.split()[-1] == combiner_codec.__version__


def test_the_changelog_has_a_heading_for_the_next_version_or_this_one():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert headings[0] == "Unreleased" or headings[0].startswith(combiner_codec.__version__)
