"""Structural error, for `--tune iq`: what SSIM calls error, at several scales. Needs torch.

SSIM (Wang, Bovik, Sheikh and Simoncelli, 2004, "Image quality assessment: from error visibility to structural
similarity", equations 6 and 10) divides the variance of a window's error by the variances of what it should show and of
what it shows: errors hide where much happens, and a window that has lost its contrast is worse than one that is off by
as much with it. Scales are halved as in MS-SSIM (Wang, Simoncelli and Bovik, 2003). Here, with variances v and means m,

    error = sum over scales, windows and colours of
            weight * pixels * T * (v(x - y) / (v(x) + v(y) + C) + (m(x) - m(y))^2 / (2 v(x) + C))

T, the geometric mean of 2 v(x) over the picture, brings it to the size of a squared error, so that beta keeps its
meaning. Weights are tuned on crops of validation photographs by SSIMULACRA 2 and Butteraugli (docs/lab.md).

Shapes: P pictures of H x W pixels with 1 or 3 channels, in [0, 1]; S scales; L colours: lightness alone, or with two
that have none.
"""

from collections.abc import Iterator
from functools import cache

import torch
from torch.nn.functional import avg_pool2d

STRUCTURE = 0.45  # share of it in what is fitted, beside the weighed squared error
CELL = 4  # pixels between windows, at every scale; these have twice as many along their sides
SCALE_WEIGHTS = (0.25, 0.75, 2.0, 3.0)  # finest first
COLOUR_WEIGHT = 0.1  # of each colour without lightness
LEAST = 0.0016  # variance that is always there: 0.04^2, ten levels of 255
SHARE = 0.15  # of T in C: so no window weighs more than 1 / SHARE of a usual one, and steps stay stable
LIGHTNESS = (0.299, 0.587, 0.114)
OPPONENTS = ((0.5, -0.5, 0.0), (0.25, 0.25, -0.5))  # red against green, yellow against blue


def log_contrast(target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over windows of log(2 v + LEAST), (P, S, L), and how many windows each scale has, (S,)."""
    sums = []
    counts = []
    for x in scales(colours(target)):
        _, variances = moments(x)
        logs = torch.log(2 * variances + LEAST)
        sums.append(logs.sum((2, 3)))
        counts.append(logs.shape[2] * logs.shape[3])
    return torch.stack(sums, 1), torch.tensor(counts)


def structural_error(shown: torch.Tensor, target: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
    """Of pictures (P, H, W, 1 or 3), or of a part of them: (P,), in units of a squared error summed over pixels.

    contrast: T of the whole pictures, (P, S, L).
    """
    total = torch.zeros(len(target), device=target.device)
    weights = _on((1.0, COLOUR_WEIGHT, COLOUR_WEIGHT)[: contrast.shape[2]], target.device)
    pairs = zip(scales(colours(target)), scales(colours(shown)), strict=True)
    for scale, (x, y) in enumerate(pairs):
        usual = contrast[:, scale, :, None, None]
        constant = LEAST + SHARE * usual
        _, of_target = moments(x)
        _, of_shown = moments(y)
        off, of_error = moments(x - y)
        structure = of_error / (of_target + of_shown + constant)
        lightness = off**2 / (2 * of_target + constant)
        errors = usual * (structure + lightness) * covered(lightness)
        pixels = (CELL * 2**scale) ** 2  # that a window stands for
        total = total + SCALE_WEIGHTS[scale] * pixels * (errors.sum((2, 3)) * weights).sum(1)
    return total


def colours(pixels: torch.Tensor) -> torch.Tensor:
    """(P, H, W, 1 or 3) -> (P, L, H, W)."""
    if pixels.shape[-1] == 3:
        pixels = pixels @ _on((LIGHTNESS, *OPPONENTS), pixels.device).T
    return pixels.permute(0, 3, 1, 2)


@cache
def _on(numbers: tuple, device: torch.device) -> torch.Tensor:
    """Numbers on a device, once for all steps."""
    return torch.tensor(numbers).to(device)


def scales(x: torch.Tensor) -> Iterator[torch.Tensor]:
    """A picture (P, L, H, W), and halves of it; none below two pixels a side."""
    for scale in range(len(SCALE_WEIGHTS)):
        if scale and min(x.shape[2:]) > 1:
            x = avg_pool2d(x, 2)
        yield x


def windows(x: torch.Tensor) -> torch.Tensor:
    """Means of windows of 2 x 2 cells, of what of them is within: (P, L, H, W) -> (P, L, h, w)."""
    cells = avg_pool2d(x, CELL, ceil_mode=True, count_include_pad=False)
    return avg_pool2d(cells, 2, 1, padding=1, count_include_pad=False)


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and variances of windows, likewise."""
    means = windows(x)
    variances = windows(x * x) - means**2
    return means, variances.clamp(min=0)


def covered(means: torch.Tensor) -> torch.Tensor:
    """Share of every window that is within: (P, L, h, w) -> (1, 1, h, w)."""
    cells = torch.ones_like(means[:1, :1, 1:, 1:])
    return avg_pool2d(cells, 2, 1, padding=1)
