"""A picture's planes: its colour, and its alpha where it has one. numpy only.

Shapes: (H, W) is grey, (H, W, 2) grey and alpha, (H, W, 3) RGB, (H, W, 4) RGB and alpha; all uint8.
"""

import numpy as np

SMOOTHINGS = 8  # of every size of filled places


def split(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour (H, W) or (H, W, 3), and alpha (H, W) where there is one."""
    if picture.shape[2:] not in ((2,), (4,)):
        return picture, None
    return picture[..., :3] if picture.shape[2] == 4 else picture[..., 0], picture[..., -1]


def join(colour: np.ndarray, alpha: np.ndarray | None, rgb: bool = False) -> np.ndarray:
    """The inverse of `split`; rgb: of a grey plane that is shown as RGB."""
    colour = np.repeat(colour[..., None], 3, 2) if rgb else colour
    return colour if alpha is None else np.dstack([colour, alpha])


def sharpened(alpha: np.ndarray, sharpness: int) -> np.ndarray:
    """Alpha with 2^sharpness times its contrast about the middle; what goes beyond the ends stays there: uint8."""
    return np.clip(((2 * alpha.astype(np.int64) - 255 << sharpness) + 255) // 2, 0, 255).astype(np.uint8)


def premultiplied(picture: np.ndarray) -> np.ndarray:
    """Colour times opacity, and alpha as it is, in float64: what a picture shows. Without alpha, the picture."""
    colour, alpha = split(picture.astype(np.float64))
    if alpha is None:
        return colour
    return join(colour * (alpha / 255).reshape(alpha.shape + (1,) * (colour.ndim - 2)), alpha)


def one_value(plane: np.ndarray) -> bytes | None:
    """The colour of a plane that has only one: (H, W) -> 1 byte, (H, W, 3) -> 3 bytes."""
    return plane[0, 0].tobytes() if (plane == plane[:1, :1]).all() else None


def filled(colour: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The colour with smooth values where it is not seen: (H, W) or (H, W, 3), (H, W) bool -> uint8.

    Means of 2 x 2 pixels that are seen, of 2 x 2 such means and so on; then, from coarse to fine, what is missing is
    taken from above and smoothed (pull and push: Gortler et al., The Lumigraph, 1996).
    """
    values = colour.reshape(*seen.shape, -1).astype(np.float64)
    return np.rint(_filled(values * seen[..., None], seen)).astype(np.uint8).reshape(colour.shape)


def _filled(values, seen):
    if seen.all() or seen.size == 1:
        return values
    height, width = seen.shape
    padding = (0, height % 2), (0, width % 2)
    count = _fours(np.pad(seen, padding)[..., None].astype(np.float64))
    means = _fours(np.pad(values, (*padding, (0, 0)))) / np.maximum(count, 1)
    above = _filled(means, count[..., 0] > 0)
    found = np.where(seen[..., None], values, above.repeat(2, 0).repeat(2, 1)[:height, :width])
    for _ in range(SMOOTHINGS):
        around = np.pad(found, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]) / 4
        found = np.where(seen[..., None], values, mean)
    return found


def _fours(x):
    """Sums over 2 x 2: (2h, 2w, C) -> (h, w, C)."""
    return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).sum((1, 3))
