"""The encoder's posterior: factorised Gaussians over latents, their KL and their starting point. Needs torch.

L = sum over pixels of Delta + beta * KL(q || p), Delta the squared error of a pixel averaged over its channels, KL in
nats (COMBINER, equation 3, with the sum over pixels). Shapes: P pictures of H x W pixels, cut into Rt x Ct tiles and
Rb x Cb blocks; D latents per block, U columns of the prior's tables.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from . import inr
from .inr import Architecture, Grid, counts
from .prior import Level, scale_of


class TorchOps:
    """The forward pass of inr.py on torch tensors."""

    sin = staticmethod(torch.sin)
    concatenate = staticmethod(torch.cat)

    @staticmethod
    def constant(array, like):
        return torch.from_numpy(array).to(like)

    @staticmethod
    def flip(x, axis):
        return torch.flip(x, (axis,))

    @staticmethod
    def permute(x, axes):
        return x.permute(axes)

    @staticmethod
    def narrow(x):
        return x

    @staticmethod
    def window(x, size, weights):
        r = size // 2
        padded = functional.pad(x.permute(0, 3, 1, 2), (r, r, r, r), mode="replicate")
        return functional.conv2d(padded, weights.permute(3, 2, 0, 1)).permute(0, 2, 3, 1)


REACH = 3.5  # prior scales that candidates reach


@dataclass(frozen=True)
class Gaussians:
    """A prior over latents; all broadcast against the latents."""

    mean: torch.Tensor
    scale: torch.Tensor  # 0 where a latent is not coded
    noise: torch.Tensor  # typical posterior scale, the unit of steps

    @property
    def coded(self) -> torch.Tensor:
        return self.scale > 0


def kl(mu, sigma, prior: Gaussians):
    """KL(q || p) per latent in nats."""
    safe = torch.where(prior.coded, prior.scale, 1.0)
    ratio = sigma / safe
    value = 0.5 * (ratio**2 + ((mu - prior.mean) / safe) ** 2 - 1) - torch.log(ratio)
    return torch.where(prior.coded, value, 0.0)


def distortion(pixels, target):
    """Squared error averaged over channels: (..., H, W, C) twice -> (..., H, W)."""
    return ((pixels - target) ** 2).mean(-1)


def closed_form(target, prior: Gaussians):
    """Posterior of a linear decoder with noise `prior.noise`: mean and scale."""
    precision = 1 / prior.noise**2
    variance = torch.where(prior.coded, 1 / (precision + 1 / torch.where(prior.coded, prior.scale, 1.0) ** 2), 0.0)
    mu = prior.mean + variance * precision * (target - prior.mean)
    return mu, variance.sqrt()


def reachable(mu, prior: Gaussians):
    """Means that candidates can come close to: at most REACH prior scales from the prior's mean."""
    return torch.minimum(torch.maximum(mu, prior.mean - REACH * prior.scale), prior.mean + REACH * prior.scale)


def decompose(architecture: Architecture, shared: dict, pixels, above: Gaussians):
    """Latents whose linear part reproduces the pixels, levels above the tiles first: (P, H, W, C) -> (P, Rb, Cb, D).

    C is 3, or 1 for grey pictures, which stands for three equal channels. H and W are whole tiles. `above` is the prior
    of the coarse levels' columns: each takes its posterior mean under a linear decoder, and the tiles take exactly what
    is left.
    """
    rest = ((pixels - shared["b1"]) @ torch.linalg.inv(shared["w1"].reshape(3, 3))).permute(0, 1, 3, 2)
    height, _, width = rest.shape[1:]
    rows, columns = counts(width, height, architecture.block)
    tiles = height // architecture.tile, width // architecture.tile
    parts, end = [], above.mean.shape[-1]
    for grid in reversed(architecture.coarse):
        own = slice(end - grid.latents, end)
        prior = Gaussians(above.mean[own], above.scale[own], above.noise[own])
        r, c = counts(width, height, grid.hop)
        padded = _extend(_extend(rest, r * grid.hop, 1), c * grid.hop, 3)
        latents = _pack(architecture, grid, inr.analyse(padded, grid.hop, TorchOps), rows, columns)
        shape = latents.shape
        latents = latents.reshape(*shape[:3], architecture.repeats(grid) ** 2, grid.latents)
        latents = reachable(closed_form(latents, prior)[0], prior).reshape(shape)
        columns_of = inr.unfold(architecture, grid, latents, tiles, TorchOps)
        rest = rest - inr.synthesise_rows(columns_of, grid.hop, TorchOps)[..., :width]
        parts.append(latents)
        end -= grid.latents
    finest = inr.analyse(rest, architecture.tile, TorchOps)
    parts.append(_pack(architecture, architecture.grids[0], finest, rows, columns))
    return torch.cat(parts[::-1], -1)


def _extend(x, size, axis):
    """Repeat the last row or column up to a size."""
    missing = size - x.shape[axis]
    last = x.narrow(axis, x.shape[axis] - 1, 1)
    return torch.cat([x, last.repeat_interleave(missing, axis)], axis) if missing else x


def _pack(architecture, grid: Grid, coefficients, rows, columns):
    """(P, R, hop, 3, C, hop) coefficients of one level -> (P, Rb, Cb, its latents of a block), 0 beyond the picture."""
    n, k = architecture.repeats(grid), grid.keep
    x = coefficients[:, :, :k, :, :, :k]
    x = functional.pad(x, (0, 0, 0, columns * n - x.shape[4], 0, 0, 0, 0, 0, rows * n - x.shape[1]))
    x = x.reshape(len(x), rows, n, k, 3, columns, n, k).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(len(x), rows, columns, -1)


def tiles_of(architecture: Architecture, latents):
    """The tiles' own latents, in rows and columns: (P, Rb, Cb, D) -> (P, Rb * n, Cb * n, latents of a tile)."""
    n, (p, r, c), size = architecture.block // architecture.tile, latents.shape[:3], architecture.pattern[0]
    x = latents[..., : n * n * size].reshape(p, r, c, n, n, size)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(p, r * n, c * n, size)


def coarse_prior(level: Level, device) -> Gaussians:
    """Prior of the columns above the tiles."""
    own = level.kl.shape[1]
    tables = (level.mean[own:], scale_of(level.coarse, level.noise[own:]), level.noise[own:])
    return Gaussians(*(as_tensor(table, device) for table in tables))


def shared_weights(level: Level, device) -> dict:
    return {name: torch.from_numpy(value).to(device) for name, value in level.shared.items()}


def as_tensor(array: np.ndarray, device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
