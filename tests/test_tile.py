"""docs/tile.md is what the code does today."""

import numpy as np
import pytest
from PIL import Image

from scripts import tile
from scripts.tile_steps import ROOT, Tile

PAGE = ROOT / "docs" / "tile.md"
DRAWING = ROOT / "docs" / "figures" / "tile.png"


@pytest.fixture(scope="module")
def found():
    return Tile.encoded()


def test_the_page_is_up_to_date(found):
    assert PAGE.read_text(encoding="utf-8") == tile.page(found), "run make docs"


def test_the_drawing_is_up_to_date(found):
    drawn = np.asarray(tile.drawing(found))
    assert np.array_equal(np.asarray(Image.open(DRAWING).convert("RGB")), drawn), "run make docs"


def test_the_score_is_what_the_encoder_maximises(found):
    chosen = [found.scores(g)[index] for g, index in enumerate(found.indices)]
    by_chance = [np.median(found.scores(g)) for g in range(len(found.groups))]
    assert np.sum(chosen) > 0 > np.sum(by_chance)
