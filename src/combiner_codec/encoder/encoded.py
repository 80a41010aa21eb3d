"""An encoded picture: its file, and what its decoder will show."""

from dataclasses import dataclass

import numpy as np

from ..format.plane import AnyPlane, InrPlane
from ..format.prior import Prior
from ..picture.image import png_bytes
from .fit.saved import SavedPosterior
from .settings import noise_variance

POOR = 10  # times the error of three coded latents a pixel, beta / 2 each: what deserves a warning


@dataclass(frozen=True)
class Encoded:
    """One encoded picture and what its decoder will show."""

    data: bytes  # the file
    plane: AnyPlane  # its colour
    pixels: np.ndarray  # uint8, of the picture's shape, decoded; as the encoder expects them if not verified
    psnr: float  # dB, of these 8-bit pixels
    ideal_bits: float  # KL of the fitted posteriors, in bits
    sampled_psnr: float | None  # dB, of one sample of the fitted posteriors before coding, where it was asked for
    posterior_seconds: float  # its share of choosing operating points and classes and of fitting, all trials
    saved: SavedPosterior | None = None  # the colour's posterior before coding, where it was asked for and there is one

    @property
    def bpp(self) -> float:
        """Bits per pixel of the file."""
        return 8 * len(self.data) / (self.pixels.shape[0] * self.pixels.shape[1])

    @property
    def point(self) -> int:
        """Number of the colour's operating point, EXACT or ONE_COLOUR."""
        return self.plane.header.point

    def warnings(self, picture: np.ndarray, beta: float | None, prior: Prior) -> list[str]:
        """What speaks against coding the picture like this, a line each; beta: None where a goal was set instead."""
        if not isinstance(self.plane, InrPlane):
            return []
        lines = []
        png = png_bytes(picture)
        if len(self.data) > png:
            lines.append(f"{len(self.data)} bytes are more than the {png} of its PNG")
        wanted = max(beta or prior.betas[self.point], min(prior.betas))
        if 10 ** (-self.psnr / 10) > POOR * noise_variance(wanted):
            lines.append(f"only {self.psnr:.1f} dB: the prior {prior.name} knows no such pictures")
        return lines

    def lagrangian(self, picture: np.ndarray, beta: float) -> float:
        """Squared error, summed over pixels and averaged over channels, + beta ln 2 bits; picture: what was encoded."""
        channels = 1 if picture.shape[2:] in ((), (2,)) else 3
        error = picture.size * 10 ** (-self.psnr / 10) / channels
        return error + beta * np.log(2) * 8 * len(self.data)
