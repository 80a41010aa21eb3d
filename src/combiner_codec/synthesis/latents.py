"""From a candidate to a latent, and between a latent's KL and its prior scale (FORMAT.md, section 7)."""

import numpy as np


def scale_factor(kl_bits: np.ndarray) -> np.ndarray:
    """s / sigma = sqrt(2^(2 KL) - 1). At the M-step's optimum the average KL is log2(s / sigma) or a little more, so
    one number gives both a latent's cost and its prior scale.
    """
    nats = np.log(2) * kl_bits
    return np.sqrt(np.expm1(2 * nats))


def scale_of(factor: np.ndarray, posterior_scale: np.ndarray) -> np.ndarray:
    """Prior scales, float32."""
    return (posterior_scale * factor).astype(np.float32)


def kl_bits_of(variance, posterior_variance):
    """The inverse of `scale_factor`, from variances; numpy or torch."""
    ratio = 1 + variance / posterior_variance
    bits = np.log2(ratio) if isinstance(ratio, np.ndarray) else ratio.log2()
    return 0.5 * bits


def latent(mean, scale, sign, eps):
    """The latent that a candidate stands for; all broadcast, numpy or torch, both sides in double precision."""
    return mean + scale * (sign * eps)
