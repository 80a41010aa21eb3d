"""Modulations of the shared layers: factors and shifts that one picture has for itself (FORMAT.md, section 7).

Every shared layer after the colour map gets a factor for each of its inputs, and a factor and a shift for each of its
outputs (FiLM, Perez et al., 2018; as latent modulations of an INR: Dupont et al., COIN++, 2022). Shapes: M modulations
in all; a layer has C inputs and O outputs. Numpy or torch.
"""

from typing import NamedTuple

from .array import Array


class LayerModulations(NamedTuple):
    """The part of one layer."""

    of_inputs: Array  # (C,) factors less 1
    of_outputs: Array  # (O,) factors less 1
    shift: Array  # (O,)


def parts(shared: dict[str, Array], first: int, values) -> dict[int, LayerModulations]:
    """Modulations (M,), layer by layer, from the one after the colour map, `first`, on."""
    found = {}
    start = 0
    for i in layers(shared, first):
        inputs, outputs = shared[f"w{i}"].shape[2:]
        factors = start + inputs
        shifts = factors + outputs
        end = shifts + outputs
        found[i] = LayerModulations(values[start:factors], values[factors:shifts], values[shifts:end])
        start = end
    return found


def modulated(shared: dict[str, Array], first: int, values) -> dict[str, Array]:
    """Shared weights of one picture, from its modulations (M,)."""
    of_layers = parts(shared, first, values)
    biases = {f"b{i}": shared[f"b{i}"] + layer.shift for i, layer in of_layers.items()}
    return shared | modulated_weights(shared, of_layers) | biases


def modulated_weights(shared: dict[str, Array], of_layers: dict[int, LayerModulations]) -> dict[str, Array]:
    """Weights of the modulated layers, biases apart."""
    changed = {}
    for i, layer in of_layers.items():
        factor = (1 + layer.of_inputs)[:, None]
        changed[f"w{i}"] = shared[f"w{i}"] * factor * (1 + layer.of_outputs)
    return changed


def layers(shared: dict[str, Array], first: int) -> range:
    """Numbers of the layers that can be modulated."""
    return range(first, first + len(shared) // 2 - 1)


def count(shared: dict[str, Array], first: int) -> int:
    """M."""
    total = 0
    for i in layers(shared, first):
        inputs, outputs = shared[f"w{i}"].shape[2:]
        total += inputs + 2 * outputs
    return total
