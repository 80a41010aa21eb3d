"""All operating points while they are learned: crops, posteriors that persist, tables, what visits have seen.

Everything is stacked over operating points, so that a step's shapes and operations are the same at each, and it stays
where it is: steps write into these tensors. A point is named by its number, in a step by a tensor (1,) on the device,
so that a captured step can be played again at another point. Needs torch. Shapes: see tables.py.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..encoder.fit.analysis import ColourMap
from ..encoder.fit.lapping import Lapping
from .tables import Tables


@dataclass(frozen=True)
class Crops:
    """Pictures of all operating points, and their posteriors."""

    pixels: Tensor  # (P, N, side, side, 3) uint8
    assigned: Tensor  # (P, N, Rt, Ct) uint8 classes, those of merged tiles last
    difference: Tensor  # (P, N, Rt, Ct, U) float16, posterior mean less target, in noise units; visits write it
    lapping: Lapping  # as the classes have it: (P, N, ...)

    @staticmethod
    def of(
        pixels: Tensor,
        assigned: Tensor,
        difference: Tensor,
        single: int,
        tile: int,
    ) -> "Crops":
        """single: classes below are of single tiles."""
        merged = assigned.flatten(0, 1).cpu().numpy() >= single
        lapping = Lapping.of(tile, merged, pixels.device)
        return Crops(pixels, assigned, difference, lapping.unflattened(assigned.shape[:2]))

    def colours(self, p: Tensor, places: Tensor) -> Tensor:
        """Some crops in [0, 1]: (n, side, side, 3)."""
        return self.pixels[p, places].float() / 255


@dataclass(frozen=True)
class Evidence:
    """What visits have seen since each point's last M-step, summed in place."""

    tiles: Tensor  # (P, R) of each row
    energy: Tensor  # (P, R, U) `fixed_point` over tiles of each row
    squares: Tensor  # (P, U) probes of the curvature, over latents that are well coded
    probes: Tensor  # (P, U) their number

    @staticmethod
    def none(variance: Tensor) -> "Evidence":
        """Before the first visit, for tables (P, R, U)."""
        energy = torch.zeros_like(variance)
        of_columns = torch.zeros_like(variance[:, 0])
        of_rows = torch.zeros_like(variance[..., 0])
        return Evidence(of_rows, energy, of_columns, of_columns.clone())

    def count(
        self,
        p: Tensor,
        energy: Tensor,
        rows: Tensor,
    ) -> None:
        """Add what an M-step averages: (n, Rt, Ct, U) of tiles that these rows (n, Rt, Ct) stand for."""
        row = rows.reshape(-1) + p * self.tiles.shape[1]
        ones = torch.ones_like(row, dtype=self.tiles.dtype)
        self.energy.flatten(0, 1).index_add_(0, row, energy.flatten(0, 2))
        self.tiles.flatten().index_add_(0, row, ones)

    def count_probe(
        self,
        p: Tensor,
        squares: Tensor,
        coded: Tensor,
    ) -> None:
        """Add a probe of the curvature where latents are well coded: (n, Rt, Ct, U) each."""
        counted = (squares * coded).sum((0, 1, 2))
        number = coded.float().sum((0, 1, 2))
        self.squares.index_add_(0, p, counted[None])
        self.probes.index_add_(0, p, number[None])

    def of(self, p: int) -> tuple[Tensor, ...]:
        """All of one point, in place."""
        return self.tiles[p], self.energy[p], self.squares[p], self.probes[p]


@dataclass(frozen=True)
class Points:
    """All operating points."""

    betas: Tensor  # (P,) float64
    mean: Tensor  # (P, U)
    curvature: Tensor  # (P, U)
    variance: Tensor  # (P, R, U)
    frequency: Tensor  # (P, K) of the classes, see sizes.py
    single: int  # K - M
    colours: ColourMap
    evidence: Evidence
    crops: Crops
    held: Crops | None  # validation crops, if there are any

    def tables(self, p: Tensor | int) -> Tables:
        """Those of one point; in place where it has its number."""
        return Tables(
            beta=row(self.betas, p),
            mean=row(self.mean, p),
            curvature=row(self.curvature, p),
            variance=row(self.variance, p),
            single=self.single,
        )


def row(values: Tensor, p: Tensor | int) -> Tensor:
    """What a stack has for one point: (P, ...) -> (...)."""
    if isinstance(p, int):
        return values[p]
    return values.index_select(0, p).squeeze(0)
