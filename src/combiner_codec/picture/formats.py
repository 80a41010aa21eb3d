"""Pillow's formats."""

from ..signals import signals_wait


def load_formats(every: bool = False) -> None:
    """Load the usual ones, or all, which is slow, before Pillow does so by itself: so no signal disturbs it."""
    from PIL import Image

    with signals_wait():
        if every:
            Image.init()
        else:
            Image.preinit()
