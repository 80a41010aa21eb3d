"""The lapped cosine transform for training and for GPUs: few operations, whatever is merged. Needs torch.

So a GPU waits for no list of tiles, and a step can be captured. Squares are those of synthesis/lapped.py; here pixels
mix at borders with others whose places are in a list, all at once:

    pixels of a square   down^T @ coefficients @ across
    at borders           keep * x + taken * x[partner]

Shapes: N pictures of Rt x Ct tiles, H x W pixels, in Rs x Cs squares, the last ones of which may be incomplete; `hop`
pixels along the side of a tile, S along that of a square; U latents of a tile.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from ...synthesis.borders import mixing
from ...synthesis.lapped import (
    MERGED,
    SINGLE,
    Matrices,
    coefficients,
    every_matrix,
    kinds_along,
    synthesise,
    whole_squares,
)
from ...synthesis.torch_ops import TorchOps
from .posterior import as_tensor

NARROW, WIDE = 1, 2  # how far a border reaches into a tile: by half of it or by all of it; 0 where there is none
REACHES = 3


@dataclass(frozen=True)
class Mixing:
    """What pixels become at borders along one axis, in a shape that broadcasts against their lines."""

    keep: Tensor
    taken: Tensor
    partner: Tensor  # int64 places along the axis

    def mixed(self, lines: Tensor, axis: int, sign: int) -> Tensor:
        """Borders along an axis mixed; sign -1 undoes it."""
        others = lines.gather(axis, self.partner.expand_as(lines))
        return torch.addcmul(lines * self.keep, others, self.taken, value=sign)


@dataclass(frozen=True)
class Lapping:
    """The transform of some pictures, as small numbers."""

    hop: int
    tiles: tuple[int, int]  # (Rt, Ct)
    merged: Tensor  # (N, Rs, Cs) bool
    down: Tensor  # (N, Ct, Rt) uint8, how far the borders above and below reach into tiles
    across: Tensor  # (N, Rt, Ct) uint8, those to the left and right

    @staticmethod
    def of(hop: int, merged: np.ndarray, device: torch.device | str = "cpu") -> "Lapping":
        """Of pictures some of whose tiles are merged: (N, Rt, Ct) bool."""
        squares = as_tensor(merged[:, ::2, ::2], device)
        down = as_tensor(reaches(merged.swapaxes(1, 2)), device)
        across = as_tensor(reaches(merged), device)
        return Lapping(hop, merged.shape[1:], squares, down, across)

    def of_crops(self, *place) -> "Lapping":
        """Of some of them, by an index of the first axis or axes."""
        return Lapping(self.hop, self.tiles, self.merged[place], self.down[place], self.across[place])

    def unflattened(self, shape: tuple[int, ...]) -> "Lapping":
        """The same with several axes of pictures."""
        merged = self.merged.unflatten(0, shape)
        down = self.down.unflatten(0, shape)
        across = self.across.unflatten(0, shape)
        return Lapping(self.hop, self.tiles, merged, down, across)

    @cached_property
    def matrices(self) -> Matrices:
        """Those of every square, down and across."""
        every = _matrices(self.hop, self.merged.device)
        found = []
        for kinds in _kinds(self.tiles, self.merged.device):
            of_squares = kinds + (MERGED - SINGLE) * self.merged
            of_each = every.index_select(0, of_squares.flatten())
            found.append(of_each.unflatten(0, of_squares.shape))
        return found[0], found[1]

    @cached_property
    def mixing_down(self) -> Mixing:
        """Of borders between rows of tiles, for lines (N, H, 3, Ct, hop)."""
        keep, taken, partner = _placed(self.down, self.hop)
        return Mixing(*(values.mT[:, :, None, :, None] for values in (keep, taken, partner)))

    @cached_property
    def mixing_across(self) -> Mixing:
        """Of borders between columns of tiles, for lines (N, Rt, hop, 3, W)."""
        keep, taken, partner = _placed(self.across, self.hop)
        return Mixing(*(values[:, :, None, None] for values in (keep, taken, partner)))

    def field(self, tiles: Tensor) -> Tensor:
        """(N, Rt, Ct, U) -> (N, H, W, 3), with a gradient."""
        return Synthesis.apply(tiles, self)

    def synthesised(self, tiles: Tensor) -> Tensor:
        """The same without."""
        rows, columns = self.tiles
        cells = tiles.unflatten(3, (self.hop, self.hop, 3))
        picture = synthesise(cells, self.matrices, TorchOps)
        return self._mixed(picture[:, : rows * self.hop, :, : columns * self.hop])

    def _mixed(self, picture: Tensor) -> Tensor:
        """Borders mixed: (N, H, 3, W) -> (N, H, W, 3)."""
        columns = picture.unflatten(3, (-1, self.hop))
        picture = self.mixing_down.mixed(columns, 1, 1).flatten(3)
        rows = picture.unflatten(1, (-1, self.hop))
        picture = self.mixing_across.mixed(rows, 4, 1).flatten(1, 2)
        return picture.permute(0, 1, 3, 2)

    def _parted(self, field: Tensor) -> Tensor:
        """The inverse: (N, H, W, 3) -> (N, H, 3, W)."""
        rows = field.permute(0, 1, 3, 2).unflatten(1, (-1, self.hop))
        picture = self.mixing_across.mixed(rows, 4, -1).flatten(1, 2)
        columns = picture.unflatten(3, (-1, self.hop))
        return self.mixing_down.mixed(columns, 1, -1).flatten(3)

    def latents(self, field: Tensor) -> Tensor:
        """The inverse and transpose of `field`: (N, H, W, 3) -> (N, Rt, Ct, U)."""
        rows, columns = self.tiles
        picture = whole_squares(self._parted(field), 2 * self.hop, TorchOps)
        tiles = coefficients(picture, self.matrices, TorchOps)
        return tiles[:, :rows, :columns].flatten(3)


class Synthesis(torch.autograd.Function):
    """`Lapping.field`: it is orthonormal, so analysis is its gradient."""

    @staticmethod
    def forward(ctx, tiles: Tensor, lapping: Lapping):
        ctx.lapping = lapping
        return lapping.synthesised(tiles)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return ctx.lapping.latents(gradient), None


def reaches(merged: np.ndarray) -> np.ndarray:
    """How far borders reach into tiles that are in order along an axis: (N, lines, tiles) bool -> the same, uint8.

    That before a tile, and REACHES times that after it.
    """
    count, lines, tiles = merged.shape
    borders = np.zeros((count, lines, tiles + 1), np.uint8)
    squares = merged[:, :, ::2]
    wide = squares[:, :, :-1] & squares[:, :, 1:]
    borders[:, :, 2:-1:2] = np.where(wide, WIDE, NARROW)
    return borders[:, :, :-1] + REACHES * borders[:, :, 1:]


def _placed(reach: Tensor, hop: int) -> tuple[Tensor, Tensor, Tensor]:
    """Shares that pixels keep and take, and their partners' places: (N, lines, tiles) -> (N, lines, pixels) each."""
    of_pixels, offsets = _shares(hop, reach.device)
    flat = reach.flatten().int()
    shape = *reach.shape[:2], -1
    keep, taken = of_pixels.index_select(1, flat)
    places = torch.arange(reach.shape[2] * hop, device=reach.device)
    partner = places + offsets.index_select(0, flat).reshape(shape)
    return keep.reshape(shape), taken.reshape(shape), partner


@cache
def _shares(hop: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Shares (kept or taken, reach, pixel), and how far away partners are, int64 (reach, pixel); see `reaches`."""
    shares = np.zeros((2, REACHES**2, hop), np.float32)
    offsets = np.zeros((REACHES**2, hop), np.int64)
    shares[0] = 1
    pixel = np.arange(hop)
    for reach in range(REACHES**2):
        after, before = divmod(reach, REACHES)
        for far, distance, sign in ((before, pixel, -1), (after, pixel[::-1], 1)):
            if far:
                half = far * hop // 2
                mixed = mixing(half, 2 * half)
                around = np.stack([mixed.diagonal(), np.fliplr(mixed).diagonal()])
                near = distance < half
                at = half + distance[near] if sign < 0 else half - 1 - distance[near]
                shares[:, reach, near] = around[:, at]
                offsets[reach, near] = sign * (2 * distance[near] + 1)
    return as_tensor(shares, device), as_tensor(offsets, device)


@cache
def _matrices(hop: int, device: torch.device) -> Tensor:
    """(coefficient, pixel) of squares by their kinds: (5, S, S)."""
    return as_tensor(every_matrix(hop).astype(np.float32), device)


@cache
def _kinds(tiles: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Kinds of squares that are not merged, down (Rs, 1) and across (Cs,)."""
    down, across = (as_tensor(kinds_along(count), device) for count in tiles)
    return down[:, None], across
