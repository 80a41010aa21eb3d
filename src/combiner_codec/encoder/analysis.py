"""Pixels -> latents: the inverse of the field's linear part, one level after the other. Needs torch.

Shapes: P pictures of H x W pixels, whole tiles; Rb x Cb blocks with D latents each.
"""

import torch
from torch.nn import functional

from ..synthesis.architecture import Architecture, counts
from ..synthesis.fields import Part, unfold
from ..synthesis.lapped import analyse, synthesise_rows
from ..synthesis.torch_ops import TorchOps
from .posterior import Gaussians, closed_form, reachable


def decompose(architecture: Architecture, shared: dict, pixels, above: Gaussians):
    """Latents whose linear part reproduces the pixels, levels above the tiles first: (P, H, W, C) -> (P, Rb, Cb, D).

    C is 3, or 1 for grey pictures, which stands for three equal channels. H and W are whole tiles. `above` is the prior
    of the coarse levels' columns: each takes its posterior mean under a linear decoder, and the tiles take exactly what
    is left.
    """
    axes, offset = colour_map(architecture, shared)
    rest = ((pixels - offset) @ torch.linalg.inv(axes)).permute(0, 1, 3, 2)
    height, _, width = rest.shape[1:]
    rows, columns = counts(width, height, architecture.block)
    tiles = height // architecture.tile, width // architecture.tile
    found, end = [], above.mean.shape[-1]
    for part in architecture.parts[:0:-1]:
        own = slice(end - part.size, end)
        prior = Gaussians(above.mean[own], above.scale[own], above.posterior_scale[own])
        r, c = counts(width, height, part.hop)
        padded = _extend(_extend(rest, r * part.hop, 1), c * part.hop, 3)
        latents = _pack(part, analyse(padded, part.hop, TorchOps), rows, columns)
        shape = latents.shape
        latents = latents.reshape(*shape[:3], part.repeats**2, part.size)
        latents = reachable(closed_form(latents, prior)[0], prior).reshape(shape)
        columns_of = unfold(architecture, part, latents, tiles, TorchOps)
        rest = rest - synthesise_rows(columns_of, part.hop, TorchOps)[..., :width]
        found.append(latents)
        end -= part.size
    found.append(_pack(architecture.parts[0], analyse(rest, architecture.tile, TorchOps), rows, columns))
    return torch.cat(found[::-1], -1)


def colour_map(architecture: Architecture, shared: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer from colour components to RGB: (3, 3) and (3,)."""
    return shared[f"w{architecture.colour}"].reshape(3, 3), shared[f"b{architecture.colour}"]


def _extend(x, size, axis):
    """Repeat the last row or column up to a size."""
    missing = size - x.shape[axis]
    last = x.narrow(axis, x.shape[axis] - 1, 1)
    return torch.cat([x, last.repeat_interleave(missing, axis)], axis) if missing else x


def _pack(part: Part, coefficients, rows, columns):
    """(P, R, hop, 3, C, hop) coefficients of one level -> (P, Rb, Cb, its latents of a block), 0 beyond the picture."""
    n, k = part.repeats, part.shape[0]
    x = coefficients[:, :, :k, :, :, :k]
    x = functional.pad(x, (0, 0, 0, columns * n - x.shape[4], 0, 0, 0, 0, 0, rows * n - x.shape[1]))
    x = x.reshape(len(x), rows, n, k, 3, columns, n, k).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(len(x), rows, columns, -1)


def tiles_of(architecture: Architecture, latents):
    """The tiles' own latents, in rows and columns: (P, Rb, Cb, D) -> (P, Rb * n, Cb * n, latents of a tile)."""
    n, (p, r, c), size = architecture.side, latents.shape[:3], architecture.own
    x = latents[..., : n * n * size].reshape(p, r, c, n, n, size)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(p, r * n, c * n, size)
