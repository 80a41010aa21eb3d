"""The lapped cosine transform of crops, alike for all tiles, so that a GPU never waits for a list of them. Needs torch.

synthesis/lapped.py gathers the tiles of each kind, which an encoder and a decoder have in a list. Here every tile is
computed as single and as part of a merged one, and takes what it is: a small part of a step's work, of shapes that do
not depend on the tiles. (On a processor that takes 1.1 to 1.8 times as long for a photograph, so each has its way.)
Both are made of the same windows, cosines and orders of axes.

Shapes: N crops of Rt x Ct tiles, hop pixels along the side of a tile.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..synthesis.borders import Borders, mirrored
from ..synthesis.lapped import cosines, join_frequencies, join_pixels, lapped, split_frequencies
from ..synthesis.torch_ops import TorchOps


@dataclass(frozen=True)
class Mixing:
    """Borders along one axis, as `Borders` has them, for every crop: y = keep * x + taken * (x mirrored)."""

    keep: Tensor  # (N, lines, pixels)
    taken: dict[int, Tensor]  # by pixels mirrored on either side of a border: (N, lines, pixels)

    @staticmethod
    def of(
        merged: np.ndarray,
        hop: int,
        both: bool,
        device: torch.device | str,
    ) -> "Mixing":
        """Of tiles in order along the axis: (N, lines, tiles) bool. both: some may be merged."""
        borders = Borders.of(merged, hop)
        pixels = merged.shape[2] * hop
        halves = (hop // 2, hop) if both else (hop // 2,)
        taken = {}
        for half in halves:
            if pixels >= 4 * half:  # there is room for such a border
                values = borders.mix.get(half, np.zeros_like(borders.keep))
                taken[half] = torch.from_numpy(values.astype(np.float32)).to(device)
        keep = torch.from_numpy(borders.keep.astype(np.float32)).to(device)
        return Mixing(keep, taken)

    def of_crops(self, place: tuple) -> "Mixing":
        """Of some of them."""
        taken = {half: values[place] for half, values in self.taken.items()}
        return Mixing(self.keep[place], taken)

    def unflattened(self, shape: tuple[int, ...]) -> "Mixing":
        """The same with several axes of crops."""
        taken = {half: values.unflatten(0, shape) for half, values in self.taken.items()}
        return Mixing(self.keep.unflatten(0, shape), taken)

    def mixed(
        self,
        y: Tensor,
        hop: int,
        axis: int,
        sign: int,
    ) -> Tensor:
        """Pixels (N, H, 3, W) with borders along axis 1 or 3 mixed; sign -1 undoes it."""
        total = y * _placed(self.keep, hop, axis)
        for half, values in self.taken.items():
            other = mirrored(y, half, axis, TorchOps)
            total = torch.addcmul(total, other, _placed(values, hop, axis), value=sign)
        return total


@dataclass(frozen=True)
class Lapping:
    """The transform of some crops."""

    hop: int
    merged: Tensor  # (N, Rt, Ct) bool
    down: Mixing  # of borders between rows of tiles
    across: Mixing  # of borders between columns
    both: bool  # whether there may be merged tiles

    @staticmethod
    def of(
        hop: int,
        merged: np.ndarray,
        both: bool,
        device: torch.device | str = "cpu",
    ) -> "Lapping":
        """Of crops' tiles (N, Rt, Ct) bool. both: some may be merged."""
        down = Mixing.of(merged.swapaxes(1, 2), hop, both, device)
        across = Mixing.of(merged, hop, both, device)
        return Lapping(hop, torch.from_numpy(merged).to(device), down, across, both)

    def of_crops(self, *place) -> "Lapping":
        """Of some of them, by an index of the first axis or axes."""
        down = self.down.of_crops(place)
        across = self.across.of_crops(place)
        return Lapping(self.hop, self.merged[place], down, across, self.both)

    def unflattened(self, shape: tuple[int, ...]) -> "Lapping":
        """The same with several axes of crops."""
        down = self.down.unflattened(shape)
        across = self.across.unflattened(shape)
        return Lapping(self.hop, self.merged.unflatten(0, shape), down, across, self.both)

    def field(self, tiles: Tensor) -> Tensor:
        """(N, Rt, Ct, U) -> (N, H, W, 3)."""
        coefficients = tiles.unflatten(3, (self.hop, self.hop, 3))
        x = coefficients.permute(0, 1, 2, 5, 3, 4)
        pixels = _picture(_cosines(x, back=False))
        if self.both:
            lines = self.merged.repeat_interleave(self.hop, 1)
            merged = lines.repeat_interleave(self.hop, 2)[:, :, None]
            pixels = torch.where(merged, self._merged_pixels(x), pixels)
        pixels = self.down.mixed(pixels, self.hop, axis=1, sign=1)
        pixels = self.across.mixed(pixels, self.hop, axis=3, sign=1)
        return pixels.permute(0, 1, 3, 2)

    def latents(self, field: Tensor) -> Tensor:
        """The inverse and transpose: (N, H, W, 3) -> (N, Rt, Ct, U)."""
        pixels = field.permute(0, 1, 3, 2)
        pixels = self.across.mixed(pixels, self.hop, axis=3, sign=-1)
        pixels = self.down.mixed(pixels, self.hop, axis=1, sign=-1)
        crops, rows, columns = self.merged.shape
        lines = pixels.reshape(crops, rows, self.hop, 3, columns, self.hop)
        cells = lines.permute(0, 1, 4, 3, 2, 5)
        x = _cosines(cells, back=True)
        if self.both:
            merged = self.merged[..., None, None, None]
            x = torch.where(merged, self._merged_latents(cells), x)
        return x.permute(0, 1, 2, 4, 5, 3).flatten(3)

    def _merged_pixels(self, x: Tensor) -> Tensor:
        """Pixels as if all tiles were merged, 0 where none can be: (N, Rt, Ct, 3, hop, hop) -> (N, H, 3, W)."""
        _, rows, columns = self.merged.shape
        squares = _squares(x)
        joined = join_frequencies(squares.flatten(0, 2), TorchOps)
        four = joined.unflatten(0, squares.shape[:3])
        pixels = _picture(_cosines(four, False, self._open_ends))
        right = columns * self.hop - pixels.shape[3]
        below = rows * self.hop - pixels.shape[1]
        return functional.pad(pixels, (0, right, 0, 0, 0, below))

    def _merged_latents(self, cells: Tensor) -> Tensor:
        """The transpose: pixels of tiles (N, Rt, Ct, 3, hop, hop) -> the same shape."""
        _, rows, columns = self.merged.shape
        squares = _squares(cells)
        joined = join_pixels(squares.flatten(0, 2), TorchOps)
        four = joined.unflatten(0, squares.shape[:3])
        frequencies = _cosines(four, True, self._open_ends).flatten(0, 2)
        split = split_frequencies(frequencies, self.hop, TorchOps)
        split = split.unflatten(0, squares.shape[:3])
        lines = split.permute(0, 1, 3, 2, 4, 5, 6, 7)
        tiles = lines.flatten(3, 4).flatten(1, 2)
        right = columns - tiles.shape[2]
        below = rows - tiles.shape[1]
        return functional.pad(tiles, (0, 0, 0, 0, 0, 0, 0, right, 0, below))

    @property
    def _open_ends(self) -> tuple[bool, bool]:
        """Whether the last row and the last column of merged tiles do not lie at the picture's end."""
        _, rows, columns = self.merged.shape
        return rows % 2 == 1, columns % 2 == 1


def _placed(values: Tensor, hop: int, axis: int) -> Tensor:
    """Values where pixels have them: (N, lines, pixels) -> (N, H, 1, W) for borders along an axis."""
    lines = values.repeat_interleave(hop, 1)
    if axis == 1:
        lines = lines.mT
    return lines[:, :, None]


def _squares(cells: Tensor) -> Tensor:
    """(N, Rt, Ct, 3, hop, hop) -> (N, Rt // 2, Ct // 2, 2, 2, 3, hop, hop)."""
    rows, columns = cells.shape[1:3]
    even = cells[:, : rows // 2 * 2, : columns // 2 * 2]
    pairs = even.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    return pairs.permute(0, 1, 3, 2, 4, 5, 6, 7)


def _picture(tiles: Tensor) -> Tensor:
    """(N, R, C, 3, s, s) -> (N, R s, 3, C s)."""
    crops, rows, columns, colours, side, _ = tiles.shape
    lines = tiles.permute(0, 1, 4, 3, 2, 5)
    return lines.reshape(crops, rows * side, colours, columns * side)


def _cosines(
    x: Tensor,
    back: bool,
    open_ends: tuple[bool, bool] = (False, False),
) -> Tensor:
    """Cosines of tiles (N, R, C, 3, s, s), frequencies to pixels or back, across and down.

    open_ends: whether the last row and column of tiles do not lie at the picture's end.
    """
    open_below, open_right = open_ends
    x = _along(x, 2, back, open_right).mT
    return _along(x, 1, back, open_below).mT


def _along(
    x: Tensor,
    axis: int,
    back: bool,
    open_end: bool,
) -> Tensor:
    """Products with cosines over the last axis; those of the last tile along `axis` differ at a picture's end."""
    inner = _matrix(lapped, x.shape[-1], x.device)
    end = inner if open_end else _matrix(cosines, x.shape[-1], x.device)
    if back:
        inner = inner.mT
        end = end.mT
    last = x.shape[axis] - 1
    before = x.narrow(axis, 0, last) @ inner
    return torch.cat([before, x.narrow(axis, last, 1) @ end], axis)


@cache
def _matrix(kind, size: int, device: torch.device) -> Tensor:
    """(frequency, pixel)."""
    return torch.from_numpy(kind(size).astype(np.float32)).to(device)
