"""Large pictures are encoded and decoded band by band, so that memory does not grow with them.

The format does not depend on bands. A band is some rows of blocks between a few rows of its neighbours'. In an encoder
those above are as the file has them, those below free. It shows the rows of pixels that no later band changes.
"""

from dataclasses import dataclass
from itertools import pairwise

from .architecture import Architecture

PIXELS = 2**23  # of a band, about: larger pictures have several
REACH = 64  # pixels of its neighbours on either side; a latent changes none further away than half of that


@dataclass(frozen=True)
class Band:
    """Rows of a picture, in blocks and in pixels, each as first and the one after the last."""

    own: range  # rows of blocks that are its own
    around: range  # the same with their neighbours
    rows: range  # rows of pixels of these
    shown: range  # rows of pixels that it settles

    def tiles(self, architecture: Architecture) -> slice:
        """Rows of tiles of all the band's blocks."""
        return slice(self.around.start * architecture.side, self.around.stop * architecture.side)

    def own_rows(self, architecture: Architecture) -> range:
        """Rows of pixels of its own blocks."""
        return range(self.own.start * architecture.block, min(self.own.stop * architecture.block, self.rows.stop))

    @property
    def coded(self) -> slice:
        """Its own rows of blocks, among all of the band's."""
        return slice(self.own.start - self.around.start, self.own.stop - self.around.start)

    @property
    def visible(self) -> range:
        """Rows of pixels that it settles, among all of the band's."""
        return range(self.shown.start - self.rows.start, self.shown.stop - self.rows.start)

    def before(self, other: "Band") -> slice:
        """Rows of blocks of another band before its own, among this band's."""
        return slice(other.around.start - self.around.start, other.own.start - self.around.start)


def bands(architecture: Architecture, height: int, width: int, pixels: int = PIXELS) -> list[Band]:
    """A picture of height x width pixels, from top to bottom: one band, or several of about equal size."""
    block, blocks = architecture.block, -(-height // architecture.block)
    if height * width <= pixels:
        return [whole(architecture, height)]
    beyond = -(-REACH // block)
    most = max(beyond, pixels // (width * block) - 2 * beyond)
    count = -(-blocks // most)
    cuts = [round(i * blocks / count) for i in range(count + 1)]
    found = []
    for first, end in pairwise(cuts):
        around = range(max(0, first - beyond), min(blocks, end + beyond))
        rows = range(around.start * block, min(height, around.stop * block))
        settled = first * block - REACH // 2 if first else 0, end * block - REACH // 2 if end < blocks else height
        found.append(Band(range(first, end), around, rows, range(*settled)))
    return found


def whole(architecture: Architecture, height: int) -> Band:
    """The only band of a picture of so many rows."""
    blocks = range(-(-height // architecture.block))
    return Band(blocks, blocks, range(height), range(height))
