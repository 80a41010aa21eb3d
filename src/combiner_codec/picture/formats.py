"""Pillow's usual formats."""

from ..signals import signals_wait


def load_formats() -> None:
    """Load them before Pillow does so by itself, so that no signal disturbs it."""
    from PIL import Image

    with signals_wait():
        Image.preinit()
