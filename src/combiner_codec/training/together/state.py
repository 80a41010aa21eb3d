"""What learning changes, and what a checkpoint of it holds. Needs torch. Shapes: see tables.py."""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..plan import ADAM_MOMENTS, Plan
from ..points import Points
from .network import JointNetwork
from .optimizers import Adam, Muon


@dataclass
class Progress:
    """How far learning is, and running averages of every operating point: 0 before its first visit."""

    visits: list[int]
    norms: Tensor  # (P,) of gradients, on the device, which nobody waits for
    costs: Tensor  # (P,) training J, nats a pixel
    before: list[float] = field(default_factory=list)  # J of each point's first crops in closed form, without network
    before_held: list[float] = field(default_factory=list)  # the same of validation crops
    step: int = 0
    seconds: float = 0.0  # over all runs


@dataclass
class State:
    """What learning changes."""

    network: JointNetwork
    average: JointNetwork  # of the network over the last steps
    muon: Muon  # of the weights
    adam: Adam  # of the biases
    points: Points
    progress: Progress


def first_state(plan: Plan, points: Points, features: Tensor) -> State:
    """A network without effect. features: (P, K, F), see `network.normalised`."""
    settings = plan.settings
    network = JointNetwork(plan.architecture, points.colours, settings.betas, features, settings.seed)
    network = network.to(plan.device)
    average = copy.deepcopy(network).requires_grad_(False)
    muon = Muon(network.matrices)
    adam = Adam(network.vectors, ADAM_MOMENTS)
    norms, costs = torch.zeros(2, plan.points, dtype=torch.float64, device=plan.device)
    progress = Progress([0] * plan.points, norms, costs)
    return State(network, average, muon, adam, points, progress)
