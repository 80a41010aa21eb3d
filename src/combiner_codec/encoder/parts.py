"""What of a picture is coded, and one file from the files of its planes. Needs torch where a plane has several colours.

What nobody sees is not coded: alpha that is opaque everywhere, colours of transparent pixels (a smooth continuation of
those around takes their place), two of three equal channels. A plane of one colour is that colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import FormatError, TargetError
from ..format import header
from ..format.header import GREY, GREY_AS_RGB, ONE_COLOUR, RGB, SHARPNESSES, USUAL_BITS, Header
from ..format.plane import ExactPlane, InrPlane, OneColour, write
from ..format.prior import Prior
from ..picture import planes
from ..picture.image import psnr
from .encoded import Encoded
from .goal import Goal
from .layers import Layer
from .settings import Settings
from .verification import shown_over


@dataclass(frozen=True)
class PictureParts:
    """The planes of a picture that are coded."""

    channels: int  # RGB, GREY or GREY_AS_RGB
    colour: np.ndarray  # (H, W) or (H, W, 3) uint8
    alpha: np.ndarray | None  # (H, W) uint8, where a pixel is not opaque

    @staticmethod
    def of(picture: np.ndarray) -> "PictureParts":
        """Of (H, W), (H, W, 2), (H, W, 3) or (H, W, 4)."""
        colour, alpha = planes.split(planes.without_opaque_alpha(picture))
        if alpha is not None:
            colour = planes.filled(colour, alpha > 0)
        if colour.ndim == 2:
            return PictureParts(GREY, colour, alpha)
        if (colour == colour[..., :1]).all():
            return PictureParts(GREY_AS_RGB, np.ascontiguousarray(colour[..., 0]), alpha)
        return PictureParts(RGB, colour, alpha)

    @property
    def alone(self) -> bool:
        """Whether the colour's file is the picture's."""
        return self.alpha is None and self.channels != GREY_AS_RGB

    @property
    def alpha_weight(self) -> float:
        """Of an error of alpha, against one of the colour, averaged over channels: PSNR counts every channel alike."""
        return 1.0 if self.channels == GREY else 1 / 3

    def shown(self, colour: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
        """Decoded planes as the picture."""
        return planes.join(colour, alpha, rgb=self.channels == GREY_AS_RGB)


def one_colour(array: np.ndarray, prior: Prior, goal: Goal | None = None) -> Encoded | TargetError | None:
    """The file of a plane of one colour, None for others: (H, W) or (H, W, 3)."""
    value = planes.one_value(array)
    if value is None:
        return None
    channels = GREY if array.ndim == 2 else RGB
    height, width = array.shape[:2]
    head = Header(prior.number, ONE_COLOUR, USUAL_BITS[0], width, height, 0, prior.header_hash, channels)
    plane = OneColour(head, prior, value)
    data = header.write(head, prior.architecture.block, write(plane), prior.digest)
    if goal and goal.size and goal.size < len(data):
        return TargetError(f"{goal.size} bytes are too few: the smallest file of this picture has {len(data)}")
    exact = float("inf")
    return Encoded(data, plane, array, exact, ideal_bits=plane.length, sampled_psnr=exact, posterior_seconds=0.0)


def assembled(
    picture: np.ndarray, parts: PictureParts, files: Sequence[Encoded], prior: Prior, settings: Settings
) -> Encoded:
    """One file of a picture from those of its colour and, where there is one, its alpha.

    Raises FormatError if it does not show what these show.
    """
    if parts.alone:
        return files[0]
    inrs = [file.plane for file in files if isinstance(file.plane, InrPlane)]
    widths = inrs[0] if inrs else files[0].plane  # the plane whose index width and seed count
    head = replace(widths.header, point=files[0].point, channels=parts.channels)
    alpha = None
    if parts.alpha is not None:
        sharpness, alpha = sharpest(parts.alpha, files[1].pixels)
        head = replace(head, alpha=files[1].point, sharpness=sharpness)
    payload = write(*(file.plane for file in files))
    data = header.write(head, prior.architecture.block, payload, prior.digest)
    pixels = parts.shown(files[0].pixels, alpha)
    _verify(pixels, data, prior, settings)
    return replace(
        files[0],
        data=data,
        pixels=pixels,
        psnr=psnr(picture, pixels),
        ideal_bits=sum(file.ideal_bits for file in files),
        posterior_seconds=sum(file.posterior_seconds for file in files),
    )


def with_layer(picture: np.ndarray, layer: Layer, below: Encoded, prior: Prior, settings: Settings) -> Encoded:
    """The file of a picture from that of what lies below its layer. Raises FormatError if it shows anything else."""
    channels = PictureParts.of(layer.below).channels
    head = replace(below.plane.header, channels=channels, layer=True)
    over = ExactPlane(head.of_layer, prior, layer.codec, layer.content)
    data = header.write(head, prior.architecture.block, write(below.plane, over), prior.digest)
    pixels = planes.layered(below.pixels, layer.shown)
    _verify(pixels, data, prior, settings)
    return replace(below, data=data, pixels=pixels, psnr=psnr(picture, pixels))


def _verify(pixels: np.ndarray, data: bytes, prior: Prior, settings: Settings) -> None:
    """Raises FormatError for a file that shows anything but the pixels of its planes, where that is to be asked."""
    if settings.verify and shown_over(pixels, data, prior, settings.threads):
        raise FormatError("verification failed: the whole file shows another picture than its planes")


def sharpest(alpha: np.ndarray, decoded: np.ndarray) -> tuple[int, np.ndarray]:
    """The sharpness that brings a decoded alpha plane nearest to what it was, and the plane: (H, W) uint8 twice."""
    tried = [planes.sharpened(decoded, sharpness) for sharpness in range(SHARPNESSES)]
    errors = [((plane.astype(np.int64) - alpha) ** 2).sum() for plane in tried]
    best = int(np.argmin(errors))
    return best, tried[best]
