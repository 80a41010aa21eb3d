"""What a training run says about an operating point. Needs torch."""

from collections.abc import Callable

import numpy as np
import torch

from ..encoder.posterior import distortion, kl_nats
from ..synthesis.network import forward
from ..synthesis.torch_ops import TorchOps
from .draft import Draft
from .pictures import Pictures
from .recipes import linear_part

Report = Callable[[str], None]  # takes a line

SHOWN = 200 * 1024  # pixels of the pictures that a line is about


@torch.no_grad()
def line(pictures: Pictures, draft: Draft, step: int) -> str:
    """How the draft does on this process's first pictures: an ELBO for 1,024 pixels, bpp, PSNR with and without the
    sine layers.
    """
    own, area = torch.arange(min(SHOWN // pictures.area, len(draft.posterior_mean))), pictures.area
    prior, scale = draft.posterior(own)
    mean = draft.posterior_mean[own]
    latents = mean + scale * torch.randn(scale.shape, generator=torch.Generator().manual_seed(2))
    nats = kl_nats(mean, scale, prior).sum((1, 2, 3))

    def error(architecture):
        pixels = forward(architecture, latents, draft.shared, draft.assigned[own], TorchOps)
        return distortion(pixels, pictures.pixels[own]).sum((1, 2))

    full, field = error(pictures.architecture), error(linear_part(pictures.architecture))
    elbo = float((full + draft.tables.beta * nats).mean()) * 1024 / area
    return (
        f"point {draft.number} beta {draft.tables.beta:g} step {step + 1}: ELBO {elbo:.4f}, "
        f"{float(nats.mean()) / np.log(2) / area:.4f} bpp, {decibels(full, area):.2f} dB "
        f"(field alone {decibels(field, area):.2f})"
    )


def decibels(error: torch.Tensor, area: int) -> float:
    """Mean PSNR of pictures from their squared errors, summed over pixels: (N,)."""
    return float(-10 * torch.log10(error / area).mean())
