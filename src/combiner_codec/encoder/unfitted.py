"""Files of one picture that need no network, and what tells a photograph. Without torch."""

from functools import cached_property
from io import BytesIO

import numpy as np
from PIL import Image

from ..picture import exact as contents
from ..picture import planes
from . import exact
from .encoded import Encoded
from .palettes import Palettes

RIVAL = 2.2  # times the bound: beyond it nothing beats a network, which lies at 1.2 to 3 (docs/lab.md)
SAMPLE = 2**17  # pixels that stand for a picture
FEWER = 3 * 2**14  # the same where it only has to tell a photograph
PIECE = 32, 512  # rows and columns of them that belong together, at most
HURRIED = 5  # times what it needs as a WebP, that a picture needs as a hurried PNG, at most: a sprite, a maze
HOPELESS = 2  # times the least J: a palette of so much error is not looked at, nor are smaller ones


class Unfitted:
    """A picture, (H, W) or (H, W, 2 to 4) uint8, and its files without a network, made when they are asked for."""

    def __init__(self, picture: np.ndarray):
        self.picture = picture

    @cached_property
    def whole(self) -> Encoded:
        """The file without loss."""
        return exact.encoded(self.picture)

    @cached_property
    def hurried_bytes(self) -> int:
        """Of a file without loss that takes a fifteenth of the time of `whole`."""
        file = BytesIO()
        Image.fromarray(self.picture).save(file, "PNG", compress_level=1)
        return len(file.getvalue())

    @cached_property
    def fewer(self) -> Palettes | None:
        """Files of few colours, which pictures with alpha have none of."""
        return Palettes(self.picture) if planes.split(self.picture)[1] is None else None

    @cached_property
    def sample(self) -> "Unfitted":
        """Some of the picture, or all where it is small."""
        return self._some(SAMPLE)

    @cached_property
    def few_pieces(self) -> "Unfitted":
        """Fewer, which are enough to tell a photograph."""
        return self._some(FEWER)

    def _some(self, pixels: int) -> "Unfitted":
        pieces = some_pieces(self.picture, pixels)
        return self if pieces is self.picture else Unfitted(pieces)

    @property
    def pixels(self) -> int:
        return self.picture.shape[0] * self.picture.shape[1]

    def bound(self, beta: float, enough: float = np.inf) -> float:
        """`exact.bound` of the colour, smooth where it is not seen, and of the alpha, which may be without loss."""
        colour, alpha = planes.split(self.picture)
        if alpha is None:
            return exact.bound(self.picture, beta, enough)
        weight = 1.0 if colour.ndim == 2 else 1 / 3
        of_colour = exact.bound(planes.filled(colour, alpha > 0), beta)
        of_alpha = exact.bound(alpha, beta / weight) * weight
        mask = exact.encoded(alpha).lagrangian(alpha, beta)
        return of_colour + min(of_alpha, mask)

    def surely_better(self, cost: float, beta: float) -> bool:
        """Whether a file of this J needs no rival: below the bound, or with alpha, whose soft edges the bound counts
        in full, below half of it.
        """
        enough = cost if planes.split(self.picture)[1] is None else 2 * cost
        return self.bound(beta, enough) > enough

    def is_photograph(self, beta: float) -> bool:
        """Whether a sample is far better as a network's, at its best, than in any other way."""
        sample = self.few_pieces
        most = RIVAL * sample.bound(beta)
        hurried = beta * np.log(2) * 8 * sample.hurried_bytes
        if hurried <= HURRIED * most and sample.whole.lagrangian(sample.picture, beta) <= most:
            return False
        return sample.fewer is None or not sample.fewer.any_below(most, beta)

    def cheapest(self, beta: float) -> Encoded:
        """The file of the least J; of a large picture what a sample says is that."""
        if self.fewer and self.sample is not self:
            files = self._likeliest(self.fewer, beta)
            return min(files, key=lambda file: file.lagrangian(self.picture, beta))
        found = None
        if self.fewer:
            found = self.fewer.cheapest(beta, self.whole.lagrangian(self.picture, beta))
        return found or self.whole

    def _likeliest(self, fewer: Palettes, beta: float) -> list[Encoded]:
        """Files of the least predicted J, each of which corrects the prediction, until it says one of them."""
        errors, sizes = self._predicted(fewer, beta)
        scale = self.pixels / self.sample.pixels
        made: dict[int, Encoded] = {}
        while True:
            per_byte = beta * np.log(2) * 8 * scale
            costs = {colours: errors[colours] + per_byte * size for colours, size in sizes.items()}
            colours = min(costs, key=costs.__getitem__)
            if colours in made:
                return list(made.values())
            made[colours] = fewer.file(colours) if colours in fewer.sizes else self.whole
            scale = len(made[colours].data) / sizes[colours]

    def _predicted(self, fewer: Palettes, beta: float) -> tuple[dict[int, float], dict[int, int]]:
        """Squared error of the whole, and bytes of the sample, by the number of colours: of few, and of all."""
        every = len(fewer.histogram.colours)
        errors = {every: 0.0}
        sizes = {every: len(self.sample.whole.data)}
        per_byte = beta * np.log(2) * 8 * self.pixels / self.sample.pixels
        least = per_byte * sizes[every]
        numbers = some_pieces(fewer.histogram.number, SAMPLE)
        for colours in reversed(fewer.sizes):
            error = fewer.error(colours)
            if error > HOPELESS * least:
                break
            _, content = contents.encoded(fewer.shown(colours, numbers))
            errors[colours] = error
            sizes[colours] = len(content)
            least = min(least, error + per_byte * len(content))
        return errors, sizes


def some_pieces(picture: np.ndarray, pixels: int) -> np.ndarray:
    """At most about so many pixels in pieces from all over a picture, below each other; a smaller picture as it is."""
    height, width = picture.shape[:2]
    rows = min(height, PIECE[0])
    columns = min(width, PIECE[1])
    wanted = max(1, pixels // (rows * columns))
    if wanted >= -(-height // rows) * -(-width // columns):
        return picture
    tops = np.linspace(0, height - rows, wanted).astype(int)
    lefts = np.linspace(0, width - columns, wanted).astype(int)
    lefts = np.concatenate([lefts[::2], lefts[1::2]])  # not all along the diagonal
    return np.concatenate([picture[y : y + rows, x : x + columns] for y, x in zip(tops, lefts, strict=True)])
