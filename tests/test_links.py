"""Every relative link of every page leads somewhere, headings included."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = {".venv", ".git", "build", "dist", ".pytest_cache", "checkpoints"}
PAGES = [page for page in sorted(ROOT.rglob("*.md")) if not LEFT_OUT & set(page.relative_to(ROOT).parts)]
FENCED = re.compile(r"^```.*?^```", re.M | re.S)
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")


def links(page: Path) -> list[str]:
    """Targets that are no addresses."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return [target for target in LINK.findall(text) if not re.match(r"\w+:", target)]


def anchors(page: Path) -> set[str]:
    """Headings as links name them: small letters, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_all_pages_are_looked_at():
    names = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert {"README.md", "FORMAT.md", "docs/method.md", "docs/results/kodak.md", "web/README.md"} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in links(page):
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        if anchor:
            assert there.suffix == ".md" and anchor in anchors(there), target


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One thing\n\n[a](missing.md) [b](#one-thing) [c](#another)\n", encoding="utf-8")
    assert links(page) == ["missing.md", "#one-thing", "#another"]
    assert anchors(page) == {"one-thing"}
