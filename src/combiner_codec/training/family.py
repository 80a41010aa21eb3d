"""A cosine family: one operating point after the other, each from where the last ended. Needs torch."""

from dataclasses import replace

import numpy as np
import torch

from ..format.prior import OperatingPoint
from ..synthesis.architecture import Architecture
from .descent import Schedule, descend
from .draft import Draft
from .log import Report
from .pictures import Pictures
from .recipes import TrainSettings
from .start import Start, begin, first_start, next_start, start_from
from .weights import class_biases


class Family:
    """Pictures, settings, and what the next operating point starts from."""

    def __init__(
        self, pixels: torch.Tensor, architecture: Architecture, settings: TrainSettings, report: Report = print
    ):
        """Pixels: (N, H, W, 3) in [0, 1], those of all processes, whole tiles, each of which is a block."""
        self.settings, self.report = settings, report
        self.pictures = Pictures.share(architecture, pixels)
        self.start: Start = first_start(self.pictures, settings.seed)

    def learn(self, index: int) -> OperatingPoint:
        """Learn the operating point of the index-th of the settings' betas."""
        steps = self.settings.first_steps if self.start.assigned is None else self.settings.steps
        draft = begin(self.pictures, self.settings, index, self.start)
        draft = descend(self.pictures, Schedule(self.settings, steps), draft, self.report)
        self.start = next_start(draft)
        return self.freeze(draft)

    def resume(self, point: OperatingPoint) -> None:
        """Go on from a finished operating point."""
        self.start = start_from(self.pictures, point)

    def freeze(self, draft: Draft) -> OperatingPoint:
        """The finished operating point; its last class, which no training picture has, takes the mean of the others'
        biases.
        """
        point = draft.frozen(self.settings.group_bits, self.settings.index_bits)
        if point.classes == 1:
            return point
        biases = {name: point.shared[name][:-1] for name in class_biases(self.pictures.architecture)}
        biases = {name: np.concatenate([b, b.mean(0, keepdims=True)]) for name, b in biases.items()}
        return replace(point, shared=point.shared | biases)
