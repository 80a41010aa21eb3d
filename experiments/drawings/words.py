"""Text that looks like text, and fonts to write it in."""

from functools import cache

import matplotlib
import numpy as np
from PIL import ImageFont

TEXT = """
the of and a to in is it that for on as with at by from this are was be or an which not have had but were one
all we can more when there use no out so up into time only new some could these two first then any now such
like our over also after most made where through well way because each work same place here old great small
large found still between name should home line set own under read last never us left end along while might
next sound below saw something thought both few those always show often together asked house world going want
school important until form food keep children feet land side without boy once animal life enough took four
head above kind began almost live page got earth need far hand high year mother light country father let night
picture being study second
"""
WORDS = TEXT.split()


def sentence(rng: np.random.Generator, words: int) -> str:
    """Words of that number with a capital at the start and a full stop."""
    text = " ".join(rng.choice(WORDS, words))
    return text[0].upper() + text[1:] + "."


def paragraph(rng: np.random.Generator, sentences: int) -> str:
    """Sentences of some length."""
    return " ".join(sentence(rng, int(rng.integers(6, 16))) for _ in range(sentences))


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines of at most so many pixels."""
    lines = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


@cache
def font(size: int, name: str = "DejaVuSans") -> ImageFont.FreeTypeFont:
    """One of matplotlib's fonts."""
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf", size)
