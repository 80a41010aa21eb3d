"""What training runs say. Needs torch."""

import torch


def decibels(error: torch.Tensor, area: int) -> float:
    """Mean PSNR of pictures from their squared errors, summed over pixels: (N,)."""
    return float(-10 * torch.log10(error / area).mean())
