"""The lapped cosine transform of crops, alike for all tiles, so that a GPU never waits for a list of them. Needs torch.

synthesis/lapped.py gathers the tiles of each kind. Here every tile is computed as single and as part of a merged one,
and takes what it is, a small part of a step's work. Shapes: see persistent.py; hop pixels along the side of a tile.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch.nn import functional

from ..encoder.fit.analysis import colour_components
from ..synthesis.architecture import Architecture
from ..synthesis.lapped import Borders, cosines, join_frequencies, join_pixels, lapped, mirrored, split_frequencies
from ..synthesis.torch_ops import TorchOps

Values = tuple[torch.Tensor, dict[int, torch.Tensor]]  # what pixels keep and take: (N, lines, S) each, see Borders


@dataclass(frozen=True)
class Lapping:
    """The transform of some crops."""

    hop: int
    merged: torch.Tensor  # (N, Rt, Ct) bool
    down: Values  # of borders between rows of tiles
    across: Values  # of borders between columns
    both: bool  # whether there may be merged tiles

    @staticmethod
    def of(hop: int, merged: np.ndarray, device="cpu") -> "Lapping":
        """(N, Rt, Ct) bool."""
        values = (_values(own, hop, device) for own in (merged.swapaxes(1, 2), merged))
        return Lapping(hop, torch.from_numpy(merged).to(device), *values, bool(merged.any()))

    def some(self, own: torch.Tensor) -> "Lapping":
        """Of some of the crops: (n,) int64."""
        values = (
            (keep[own], {half: mix[own] for half, mix in more.items()}) for keep, more in (self.down, self.across)
        )
        return Lapping(self.hop, self.merged[own], *values, self.both)

    def field(self, tiles: torch.Tensor) -> torch.Tensor:
        """(N, Rt, Ct, U) -> (N, H, W, 3)."""
        x = tiles.unflatten(3, (self.hop, self.hop, 3)).permute(0, 1, 2, 5, 3, 4)
        y = _picture(_each_way(x, back=False))
        if self.both:
            four = join_frequencies(_squares(x).flatten(0, 2), TorchOps).unflatten(0, self._square_shape)
            wide = _picture(_each_way(four, False, self._odd))
            missing = 0, y.shape[3] - wide.shape[3], 0, 0, 0, y.shape[1] - wide.shape[1]
            merged = self.merged.repeat_interleave(self.hop, 1).repeat_interleave(self.hop, 2)[:, :, None]
            y = torch.where(merged, functional.pad(wide, missing), y)
        return self._mixed(self._mixed(y, self.down, 1, 1), self.across, 3, 1).permute(0, 1, 3, 2)

    def latents(self, field: torch.Tensor) -> torch.Tensor:
        """The inverse and transpose: (N, H, W, 3) -> (N, Rt, Ct, U)."""
        y = self._mixed(self._mixed(field.permute(0, 1, 3, 2), self.across, 3, -1), self.down, 1, -1)
        n, rows, columns = self.merged.shape
        cells = y.reshape(n, rows, self.hop, 3, columns, self.hop).permute(0, 1, 4, 3, 2, 5)
        x = _each_way(cells, back=True)
        if self.both:
            wide = join_pixels(_squares(cells).flatten(0, 2), TorchOps).unflatten(0, self._square_shape)
            four = split_frequencies(_each_way(wide, True, self._odd).flatten(0, 2), self.hop, TorchOps)
            four = four.unflatten(0, self._square_shape).permute(0, 1, 3, 2, 4, 5, 6, 7).flatten(3, 4).flatten(1, 2)
            missing = (0, 0, 0, 0, 0, 0, 0, columns - four.shape[2], 0, rows - four.shape[1])
            x = torch.where(self.merged[..., None, None, None], functional.pad(four, missing), x)
        return x.permute(0, 1, 2, 4, 5, 3).flatten(3)

    @property
    def _odd(self) -> tuple[bool, bool]:
        return self.merged.shape[1] % 2 == 1, self.merged.shape[2] % 2 == 1

    @property
    def _square_shape(self) -> tuple[int, int, int]:
        return self.merged.shape[0], self.merged.shape[1] // 2, self.merged.shape[2] // 2

    def _mixed(self, y, values: Values, axis: int, sign: int):
        """As `Borders.mixed`."""
        keep, more = values
        total = y * _placed(keep, self.hop, axis)
        for half, mix in more.items():
            total = torch.addcmul(total, mirrored(y, half, axis, TorchOps), _placed(mix, self.hop, axis), value=sign)
        return total


def decompose(architecture: Architecture, shared: dict, pixels: torch.Tensor, lapping: Lapping) -> torch.Tensor:
    """As `encoder.fit.analysis.decompose`: (N, H, W, 3) -> (N, Rt, Ct, U)."""
    return lapping.latents(colour_components(architecture, shared, pixels))


def _values(merged: np.ndarray, hop: int, device) -> Values:
    borders = Borders.of(merged, hop)
    keep, *mix = (torch.from_numpy(v.astype(np.float32)).to(device) for v in (borders.keep, *borders.mix.values()))
    return keep, dict(zip(borders.mix, mix, strict=True))


def _placed(values, hop, axis):
    """(N, lines, S) -> (N, H, 1, W) for borders along an axis."""
    lines = values.repeat_interleave(hop, 1)
    return (lines.mT if axis == 1 else lines)[:, :, None]


def _squares(cells):
    """(N, Rt, Ct, 3, hop, hop) -> (N, Rt // 2, Ct // 2, 2, 2, 3, hop, hop)."""
    rows, columns = cells.shape[1:3]
    cells = cells[:, : rows // 2 * 2, : columns // 2 * 2].unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    return cells.permute(0, 1, 3, 2, 4, 5, 6, 7)


def _picture(tiles):
    """(N, R, C, 3, s, s) -> (N, R s, 3, C s)."""
    n, rows, columns, colours, s, _ = tiles.shape
    return tiles.permute(0, 1, 4, 3, 2, 5).reshape(n, rows * s, colours, columns * s)


def _each_way(x, back: bool, open_ends: tuple[bool, bool] = (False, False)):
    """Cosines of tiles (N, R, C, 3, s, s), frequencies to pixels or back, across and down.

    open_ends: whether the last row and column of tiles do not lie at the picture's end.
    """
    for axis, is_open in ((2, open_ends[1]), (1, open_ends[0])):
        x = _along(x, axis, back, is_open).mT
    return x


def _along(x, axis, back, is_open):
    inner, end = (_matrix(kind, x.shape[-1], x.device) for kind in (lapped, lapped if is_open else cosines))
    inner, end = (inner.mT, end.mT) if back else (inner, end)
    last = x.shape[axis] - 1
    return torch.cat([x.narrow(axis, 0, last) @ inner, x.narrow(axis, last, 1) @ end], axis)


@cache
def _matrix(kind, size, device):
    """(frequency, pixel)."""
    return torch.from_numpy(kind(size).astype(np.float32)).to(device)
