"""The files that a picture may have, as far as they are known without a fit: sizes and predicted errors. Needs torch.

The length of a file follows from its classes alone (FORMAT.md, sections 3 and 5). Its quality is predicted by the
linear part (`ClassCosts.errors`). Which tiles are merged follows from the operating point. Shapes: Rt x Ct
tiles, T of them that name a class (the first of each four that are merged), K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from ...format.operating_point import OperatingPoint
from ...synthesis.architecture import counts
from ...synthesis.bands import Band
from ...synthesis.pyramid import kinds
from ...synthesis.rectangle import Rectangle
from ...synthesis.squares import begins
from .chooser import Chooser
from .class_costs import tile_nats
from .class_maps import cheapest
from .picture_costs import TileWeights

NATS_PER_BYTE = 8 * np.log(2)
NO_ERROR = 1e-9  # squared error that counts as none
ERROR_ALONE = 1e-9  # beta at which nothing but the error counts
SIZE_ALONE = 1e9  # beta at which nothing but the size counts


@dataclass(frozen=True)
class Choice:
    """What decides a file's length, and what is known of the file without a fit."""

    point: int  # number of the operating point
    classes: np.ndarray  # (Rt, Ct)
    size: int  # bytes of the file
    error: float  # predicted squared error, summed over pixels, averaged over channels

    @property
    def key(self) -> tuple[int, bytes]:
        """Equal for equal files."""
        return self.point, self.classes.tobytes()


@dataclass(frozen=True)
class Part:
    """Tiles of a band, those of its neighbours too; some may be beyond the picture."""

    coded: Rectangle
    around: Rectangle

    @property
    def inner(self) -> Rectangle:
        """The coded ones among all."""
        return self.coded.within(self.around)


@dataclass(frozen=True)
class Tiles:
    """A picture's tiles at one operating point."""

    point: OperatingPoint
    merged: np.ndarray  # (Rt, Ct) bool
    errors: np.ndarray  # (Rt, Ct, K) distortion by class
    parts: Sequence["Part"]  # whose classes are chosen one after the other

    @cached_property
    def kinds(self) -> np.ndarray:
        """Of the tiles' lowest frequencies (pyramid.py): (Rt, Ct)."""
        return kinds(self.merged, self.point.levels)

    @cached_property
    def nats(self) -> np.ndarray:
        """Nats of the tiles that name a class, by class: (T, K)."""
        return tile_nats(self.point)[self.named(self.kinds)]

    @cached_property
    def places(self) -> np.ndarray:
        """Where the tiles are that name a class: (T, 2)."""
        return np.argwhere(begins(self.merged))

    def named(self, values: np.ndarray) -> np.ndarray:
        """Those of the tiles that name a class: (Rt, Ct, ...) -> (T, ...)."""
        return values[tuple(self.places.T)]

    def cheapest(self, beta: float) -> np.ndarray:
        """Classes that minimise distortion + beta nats: (Rt, Ct)."""
        rates = (beta * tile_nats(self.point)).astype(np.float32)
        classes = np.empty(self.merged.shape, np.int64)
        for part in self.parts:
            named = begins(self.merged[part.around.slices])
            of_tiles = rates[self.kinds[part.around.slices]]
            costs = self.errors[part.around.slices] + of_tiles * named[..., None]
            found = cheapest(self.point, costs[None], beta)[0]
            classes[part.coded.slices] = found[part.inner.slices]
        return classes

    def error_of(self, classes: np.ndarray) -> float:
        """Distortion of classes (Rt, Ct)."""
        errors = np.take_along_axis(self.errors, classes[..., None], -1)
        return max(float(errors.sum(dtype=np.float64)), NO_ERROR)

    def nats_of(self, classes: np.ndarray) -> float:
        """What the tiles of classes (Rt, Ct) cost."""
        of_tiles = np.take_along_axis(self.nats, self.named(classes)[:, None], 1)
        return float(of_tiles.sum())

    def changed(self, classes: np.ndarray, tile: int, to: int) -> np.ndarray:
        """Classes (Rt, Ct) with another one for a tile, by its number among those that name one."""
        row, column = self.places[tile]
        side = 2 if self.merged[row, column] else 1
        out = classes.copy()
        out[row : row + side, column : column + side] = to
        return out


@dataclass(frozen=True)
class Choices:
    """All choices for one picture. Where it has several bands, a sample of it tells which operating points to look at,
    and its tiles are known at one of them at a time.
    """

    chooser: Chooser
    shape: tuple[int, ...]  # of the picture: (H, W) or (H, W, 3)
    bands: Sequence[Band]
    area_of: Callable[[Rectangle], torch.Tensor]  # an area of it, whole tiles: (1, h, w, 1 or 3)
    weights_of: Callable[[Rectangle], TileWeights]  # of squared error there: (1, rt, ct)
    size_of: Callable[[int, np.ndarray], int]  # bytes of a file from point and classes
    smaller: "Choices | None" = None  # of a sample of a large picture
    tiles_known: dict[int, Tiles] = field(default_factory=dict, repr=False)  # by operating point, as asked for
    overheads_known: dict[int, float] = field(default_factory=dict, repr=False)  # the same

    @property
    def points(self) -> tuple[int, ...]:
        """Numbers of the operating points to choose from."""
        return self.chooser.points

    @property
    def sample(self) -> "Choices":
        """Those of a sample; of a picture that is not large its own."""
        return self.smaller or self

    @property
    def pixels(self) -> int:
        """Of the picture."""
        return self.shape[0] * self.shape[1]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return counts(self.shape[1], self.shape[0], self.chooser.prior.architecture.tile)

    @property
    def tile_count(self) -> int:
        """Tiles of the picture, merged or not."""
        rows, columns = self.grid
        return rows * columns

    def tiles(self, number: int) -> Tiles:
        """The tiles at an operating point."""
        if number not in self.tiles_known:
            self.forget()
            self.tiles_known[number] = self._tiles(number)
        return self.tiles_known[number]

    def _tiles(self, number: int) -> Tiles:
        """The same, band by band."""
        architecture = self.chooser.prior.architecture
        point = self.chooser.prior.operating_point(number, grey=len(self.shape) == 2)
        merged = np.empty(self.grid, bool)
        errors = np.empty((*self.grid, point.classes), np.float32)
        parts = []
        for band in self.bands:
            pixels = self.area_of(band.pixels)
            weights = self.weights_of(band.pixels)
            part = Part(band.coded_tiles(architecture), band.tiles(architecture))
            merged_of_band = self.chooser.tiling(point, pixels, weights)
            errors_of_band = self.chooser.costs(point, pixels, weights).errors(merged_of_band)
            merged[part.coded.slices] = merged_of_band[0][part.inner.slices]
            errors[part.coded.slices] = errors_of_band[0][part.inner.slices]
            parts.append(part)
        return Tiles(point, merged, errors, parts)

    def forget(self) -> None:
        """Leave the tiles of a large picture, whose costs take as much memory as its pixels."""
        if len(self.bands) > 1:
            self.tiles_known.clear()

    def overhead(self, number: int) -> float:
        """Nats of header and class map at an operating point's own beta."""
        if number not in self.overheads_known:
            tiles = self.tiles(number)
            usual = self.at(number, tiles.point.beta)
            self.overheads_known[number] = NATS_PER_BYTE * usual.size - tiles.nats_of(usual.classes)
        return self.overheads_known[number]

    def at(self, number: int, beta: float) -> Choice:
        """The classes that minimise distortion + beta nats at an operating point."""
        return self.choice(number, self.tiles(number).cheapest(beta))

    def choice(self, number: int, classes: np.ndarray) -> Choice:
        """Given classes: (Rt, Ct)."""
        size = self.size_of(number, classes)
        error = self.tiles(number).error_of(classes)
        return Choice(number, classes, size, error)

    @property
    def finest(self) -> int:
        """Number of the operating point of the smallest beta."""
        return min(self.points, key=self.chooser.prior.betas.__getitem__)

    @cached_property
    def smallest(self) -> Choice:
        """The smallest file; of a large picture at the operating point that its sample has it at."""
        if self.smaller:
            return self.at(self.smaller.smallest.point, SIZE_ALONE)
        files = [self.at(number, SIZE_ALONE) for number in self.points]
        return min(files, key=lambda choice: choice.size)

    @cached_property
    def richest(self) -> Choice:
        """The file of least error; likewise."""
        if self.smaller:
            return self.at(self.smaller.richest.point, ERROR_ALONE)
        files = [self.at(number, ERROR_ALONE) for number in self.points]
        return min(files, key=lambda choice: choice.error)

    def psnr_of(self, error):
        """Of a squared error, as `Choice.error` has it: dB. Floats or arrays."""
        return 10 * np.log10(self.pixels / np.maximum(error, NO_ERROR))
