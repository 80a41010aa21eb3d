"""The plain SIREN's architecture, and what its prior files say to the encoder (see recipes.py)."""

from ...synthesis.architecture import Architecture, Layer

SIREN_METADATA = {"steps": 800, "rate": 0.1, "fit_scale": True, "budget_groups": 1}


def siren_architecture(tile: int = 32) -> Architecture:
    """The paper's CIFAR-10 network: 1,123 weights, all stored (COMBINER, appendix; SIREN)."""
    scale = 6**0.5 / (3**0.5 * 4)  # standard deviation of SIREN's uniform weights, 16 inputs, times omega
    layers = (
        Layer("sine", 32, 16, latent=True, scale=scale),
        Layer("sine", 16, 16, latent=True, scale=scale),
        Layer("sine", 16, 16, latent=True, scale=scale),
        Layer("linear", 16, 3, latent=True, scale=scale),
    )
    return Architecture("fourier", tile, layers)
