"""The latents of a section and their prior, as tensors: what is fitted and coded. Needs torch.

Shapes: B blocks of a section with D latents each (format/plane.py).
"""

from dataclasses import dataclass

import numpy as np
import torch

from ...format.plane import Section
from ...format.streams import Partition
from .posterior import Gaussians, as_tensor


@dataclass(frozen=True)
class Latents:
    """Latents of the blocks of one section, of one picture or of several alike, one after another."""

    section: Section
    kl_index: np.ndarray  # (B, D) uint8
    partition: Partition
    prior: Gaussians  # (B, D), means (D,)
    numbers: np.ndarray  # (B,) of each block in its picture
    in_file: np.ndarray  # (B,) bool, whether its stream is wanted: not of blocks that belong to another band

    @staticmethod
    def of(section: Section, device: torch.device, numbers: np.ndarray, in_file: np.ndarray) -> "Latents":
        """On the device where they will be fitted."""
        kl_index = section.kl_index()
        partition = section.point.partition(kl_index)
        scale = np.array(section.scale(kl_index))
        scale[partition.counts == 0] = 0
        tables = (section.mean, scale, section.posterior_scale(kl_index))
        prior = Gaussians(*(as_tensor(table, device) for table in tables))
        return Latents(section, kl_index, partition, prior, numbers, in_file)

    @staticmethod
    def of_picture(section: Section, device: torch.device) -> "Latents":
        """All of one picture."""
        count = len(section.lengths)
        return Latents.of(section, device, np.arange(count), np.ones(count, bool))

    @property
    def device(self) -> torch.device:
        return self.prior.scale.device

    @property
    def group_bits(self) -> int:
        """Bits that a group adds to a stream."""
        return self.section.point.group_bits

    @property
    def chained(self) -> bool:
        """Whether indices overlap."""
        return self.section.point.chained
