"""A picture's planes: its colour, and its alpha where it has one. numpy only.

Shapes: (H, W) is grey, (H, W, 2) grey and alpha, (H, W, 3) RGB, (H, W, 4) RGB and alpha; all uint8.
"""

import numpy as np

SMOOTHINGS = 8  # of every size of filled places


def split(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour (H, W) or (H, W, 3), and alpha (H, W) where there is one."""
    planes = picture.shape[2:]
    if planes == (4,):
        return picture[..., :3], picture[..., 3]
    if planes == (2,):
        return picture[..., 0], picture[..., 1]
    return picture, None


def without_opaque_alpha(picture: np.ndarray) -> np.ndarray:
    """The picture, or its colour alone where alpha is opaque everywhere."""
    colour, alpha = split(picture)
    if alpha is None or alpha.min() < 255:
        return picture
    return np.ascontiguousarray(colour)


def join(colour: np.ndarray, alpha: np.ndarray | None, rgb: bool = False) -> np.ndarray:
    """The inverse of `split`; rgb: of a grey plane that is shown as RGB."""
    if rgb:
        colour = np.repeat(colour[..., None], 3, 2)
    if alpha is None:
        return colour
    return np.dstack([colour, alpha])


def layered(below: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """A picture, (H, W) or (H, W, 3), with a layer over it, (H, W, 2) or (H, W, 4), where that has opacity: uint8."""
    colour, alpha = split(layer)
    assert alpha is not None
    seen = alpha > 0
    return np.where(seen if below.ndim == 2 else seen[..., None], colour, below)


def sharpened(alpha: np.ndarray, sharpness: int) -> np.ndarray:
    """Alpha with 2^sharpness times its contrast about the middle; what goes beyond the ends stays there: uint8."""
    from_middle = 2 * alpha.astype(np.int64) - 255  # in halves of a step
    stretched = (from_middle << sharpness) + 255
    return np.clip(stretched // 2, 0, 255).astype(np.uint8)


def premultiplied(picture: np.ndarray) -> np.ndarray:
    """Colour times opacity, and alpha as it is, in float64: what a picture shows. Without alpha, the picture."""
    colour, alpha = split(picture.astype(np.float64))
    if alpha is None:
        return colour
    opacity = alpha / 255
    if colour.ndim == 3:
        opacity = opacity[..., None]
    return join(colour * opacity, alpha)


def one_value(plane: np.ndarray) -> bytes | None:
    """The colour of a plane that has only one: (H, W) -> 1 byte, (H, W, 3) -> 3 bytes."""
    first = plane[:1, :1]
    if (plane != first).any():
        return None
    return first.tobytes()


def filled(colour: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The colour with smooth values where it is not seen: (H, W) or (H, W, 3), (H, W) bool -> uint8.

    Means of 2 x 2 pixels that are seen, of 2 x 2 such means and so on; then, from coarse to fine, what is missing is
    taken from above and smoothed (pull and push: Gortler et al., The Lumigraph, 1996).
    """
    values = colour.reshape(*seen.shape, -1).astype(np.float64)
    found = _filled(values * seen[..., None], seen)
    return np.rint(found).astype(np.uint8).reshape(colour.shape)


def _filled(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Values (H, W, C), zero where they are not seen, with all places filled: float64."""
    if seen.all() or seen.size == 1:
        return values
    height, width = seen.shape
    to_even = [(0, height % 2), (0, width % 2), (0, 0)]
    shown = seen[..., None].astype(np.float64)
    count = _sums_of_four(np.pad(shown, to_even))
    means = _sums_of_four(np.pad(values, to_even)) / np.maximum(count, 1)
    coarser = _filled(means, count[..., 0] > 0)
    from_above = coarser.repeat(2, 0).repeat(2, 1)[:height, :width]
    found = np.where(seen[..., None], values, from_above)
    for _ in range(SMOOTHINGS):
        found = np.where(seen[..., None], values, _mean_of_neighbours(found))
    return found


def _mean_of_neighbours(values: np.ndarray) -> np.ndarray:
    """Of the four above, below, left and right, at the edges of the value itself: (H, W, C)."""
    padded = np.pad(values, [(1, 1), (1, 1), (0, 0)], mode="edge")
    above = padded[:-2, 1:-1]
    below = padded[2:, 1:-1]
    left = padded[1:-1, :-2]
    right = padded[1:-1, 2:]
    return (above + below + left + right) / 4


def _sums_of_four(values: np.ndarray) -> np.ndarray:
    """Sums over 2 x 2: (2h, 2w, C) -> (h, w, C)."""
    height, width, channels = values.shape
    squares = values.reshape(height // 2, 2, width // 2, 2, channels)
    return squares.sum((1, 3))
