"""Modulations: factors and shifts of shared layers that one picture has for its own (FORMAT.md, sections 3, 5 and 7).

Every shared layer after the colour map gets a factor for each of its inputs, and a factor and a shift for each of its
outputs (FiLM, Perez et al., 2018; as latent modulations of an INR: Dupont et al., COIN++, 2022). They are latents of
the picture as others are of a block: Gaussian a priori, stored as one stream. Shapes: M modulations in all.
"""

from dataclasses import dataclass

import numpy as np

SMALLEST = 2**14  # pixels; a picture of no more has none, and is decoded in double precision


@dataclass(frozen=True, eq=False)
class Modulations:
    """What an operating point knows of them."""

    scale: np.ndarray  # (M,) float32, prior scales; the means are 0
    kl_index: np.ndarray  # (S, M) uint8, index into kl_table, of pictures of 2^(14 + row) pixels and more

    def kl_of(self, pixels: int) -> np.ndarray | None:
        """KL indices for a picture of so many pixels, as a block's: (1, M) uint8, None where it can have none."""
        if pixels <= SMALLEST:
            return None
        row = min((pixels // SMALLEST).bit_length(), len(self.kl_index)) - 1
        return self.kl_index[row : row + 1]


def parts(shared: dict, first: int, values) -> dict[int, tuple]:
    """Modulations (M,) of every layer, from the one after the colour map, `first`, on.

    In the order of layers, those of each: C factors of its inputs less 1, O factors of its outputs less 1, O shifts.
    """
    found, at = {}, 0
    for i in layers(shared, first):
        inputs, outputs = shared[f"w{i}"].shape[2:]
        factor, shift, end = at + inputs, at + inputs + outputs, at + inputs + 2 * outputs
        found[i] = values[at:factor], values[factor:shift], values[shift:end]
        at = end
    return found


def modulated(shared: dict, first: int, values: np.ndarray) -> dict[str, np.ndarray]:
    """Shared weights of one picture."""
    out = dict(shared)
    for i, (into, factor, shift) in parts(shared, first, values).items():
        weights, bias = shared[f"w{i}"], shared[f"b{i}"]
        out |= {f"w{i}": weights * (1 + into)[:, None] * (1 + factor), f"b{i}": bias + shift}
    return out


def layers(shared: dict, first: int) -> range:
    """Numbers of the layers that can be modulated."""
    return range(first, first + len(shared) // 2 - 1)


def count(shared: dict, first: int) -> int:
    """M."""
    return sum(shared[f"w{i}"].shape[2] + 2 * shared[f"w{i}"].shape[3] for i in layers(shared, first))
