"""A picture's planes -> files of one plane each -> one file. Needs torch where a plane has more than one colour.

What nobody sees is not coded: alpha that is opaque everywhere, colours of transparent pixels (a smooth continuation of
those around takes their place), two of three equal channels. A plane of one colour is that colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .. import decoder
from ..errors import FormatError, TargetError
from ..format import header
from ..format.header import GREY, GREY_AS_RGB, ONE_COLOUR, RGB, SHARPNESSES, USUAL_BITS, Header
from ..format.plane import InrPlane, write
from ..format.prior import Prior
from ..picture import planes
from ..picture.image import psnr
from .batch import Batch, Encoded
from .choose.target import Goal, meet
from .settings import Progress, Settings, between


@dataclass(frozen=True)
class Planes:
    """What of a picture is coded."""

    channels: int  # RGB, GREY or GREY_AS_RGB
    colour: np.ndarray  # (H, W) or (H, W, 3) uint8
    alpha: np.ndarray | None  # (H, W) uint8, where a pixel is not opaque

    @staticmethod
    def of(picture: np.ndarray) -> "Planes":
        """Of (H, W), (H, W, 2), (H, W, 3) or (H, W, 4)."""
        colour, alpha = planes.split(picture)
        if alpha is not None and alpha.min() == 255:
            alpha = None
        if alpha is not None:
            colour = planes.filled(colour, alpha > 0)
        if colour.ndim == 2:
            return Planes(GREY, colour, alpha)
        if (colour == colour[..., :1]).all():
            return Planes(GREY_AS_RGB, np.ascontiguousarray(colour[..., 0]), alpha)
        return Planes(RGB, colour, alpha)

    @property
    def plain(self) -> bool:
        """Whether the colour's file is the picture's."""
        return self.alpha is None and self.channels != GREY_AS_RGB

    @property
    def weight(self) -> float:
        """Of an error of alpha, against one of the colour, averaged over channels: PSNR counts every channel alike."""
        return 1.0 if self.channels == GREY else 1 / 3

    def shown(self, colour: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
        """Decoded planes as the picture."""
        return planes.join(colour, alpha, rgb=self.channels == GREY_AS_RGB)


def encode_planes(
    arrays: Sequence[np.ndarray], prior: Prior, settings: Settings, goal: Goal | None, progress: Progress
) -> list[Encoded | TargetError]:
    """A file for each (H, W) or (H, W, 3); those of one shape share every matrix product."""
    results = [one_colour(array, prior, goal) for array in arrays]
    left = [i for i, result in enumerate(results) if result is None]
    pixels, done = sum(arrays[i].shape[0] * arrays[i].shape[1] for i in left), 0
    for shape in dict.fromkeys(arrays[i].shape for i in left):
        members = [i for i in left if arrays[i].shape == shape]
        batch = Batch(prior, settings, [arrays[i] for i in members])
        share = batch.pixels * len(members) / pixels
        report = between(progress, done, done + share)
        for i, result in zip(members, meet(goal, batch, report) if goal else batch.best(report), strict=True):
            results[i] = result
        done += share
    return results


def one_colour(array: np.ndarray, prior: Prior, goal: Goal | None = None) -> Encoded | TargetError | None:
    """The file of a plane of one colour, None for others."""
    colour = planes.one_value(array)
    if colour is None:
        return None
    channels, (height, width) = GREY if array.ndim == 2 else RGB, array.shape[:2]
    head = Header(prior.number, ONE_COLOUR, USUAL_BITS[0], width, height, 0, prior.header_hash, channels)
    data = header.write(head, prior.architecture.block, colour, prior.digest)
    if goal and goal.size and goal.size < len(data):
        return TargetError(f"{goal.size} bytes are too few: the smallest file of this picture has {len(data)}")
    exact = float("inf")
    return Encoded(data, array, exact, ONE_COLOUR, 8.0 * len(colour), exact, 0.0, None)


def assembled(picture: np.ndarray, own: Planes, files: Sequence[Encoded], prior: Prior, settings: Settings) -> Encoded:
    """One file of a picture from those of its colour and, where there is one, its alpha.

    Raises FormatError if it does not show what these show.
    """
    if own.plain:
        return files[0]
    parts = [decoder.parse(file.data, prior, max_pixels=None) for file in files]
    coded = next((part for part in parts if isinstance(part.colour, InrPlane)), parts[0]).header  # index width and seed
    head, alpha = replace(coded, point=parts[0].header.point, channels=own.channels), None
    if own.alpha is not None:
        sharpness, alpha = sharpest(own.alpha, files[1].pixels)
        head = replace(head, alpha=parts[1].header.point, sharpness=sharpness)
    payload = write(*(part.colour for part in parts))
    data = header.write(head, prior.architecture.block, payload, prior.digest)
    pixels = own.shown(files[0].pixels, alpha)
    if settings.verify and (decoder.decode_array(data, prior, settings.threads, max_pixels=None) != pixels).any():
        raise FormatError("verification failed: the whole file shows another picture than its planes")
    seconds, bits = (sum(getattr(file, name) for file in files) for name in ("posterior_seconds", "ideal_bits"))
    quality = psnr(picture, pixels)
    return replace(files[0], data=data, pixels=pixels, psnr=quality, ideal_bits=bits, posterior_seconds=seconds)


def sharpest(alpha: np.ndarray, decoded: np.ndarray) -> tuple[int, np.ndarray]:
    """The sharpness that brings a decoded alpha plane nearest to what it was, and the plane: (H, W) uint8 twice."""
    tried = [planes.sharpened(decoded, sharpness) for sharpness in range(SHARPNESSES)]
    errors = [((plane.astype(np.int64) - alpha) ** 2).sum() for plane in tried]
    return int(np.argmin(errors)), tried[int(np.argmin(errors))]
