"""A visit: one sample of some crops' posteriors, its gradients, and a step of the posteriors (E-step). Needs torch.

    pixels -> target -> posterior (target + difference) -> sample -> shared layers -> gradients -> posterior moved

Nothing here waits for the device, and no shape depends on what tensors hold, so that a step can be captured.
Shapes: see tables.py.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...encoder.fit.posterior import Gaussians, closed_form, distortion, kl_nats, reachable
from ...synthesis.architecture import Architecture
from ...synthesis.network import Network
from ...synthesis.torch_ops import TorchOps
from ..plan import Batch
from ..points import Crops, Points, row
from ..tables import LEAST_SCALE, MAP_SHARE, Tables

WELL_CODED = 0.3  # prior variance over the posterior's from which a latent's curvature counts
LOUD = 2.0  # widening below which the data speak: s^2 > sigma^2


@dataclass(frozen=True)
class Visited:
    """What a visit found."""

    gradients: list[Tensor]  # of the squared error over beta, by the weights asked for
    error: Tensor  # (n,) squared errors, summed over pixels
    nats: Tensor  # (n,) KL and class maps

    def cost(self, tables: Tables) -> Tensor:
        """Lagrangian of crops in nats: (n,)."""
        return self.error / tables.beta + self.nats


class TrainingOps(TorchOps):
    """With sums that a captured step can hold."""

    @staticmethod
    def look_up(table: Tensor, classes: Tensor) -> Tensor:
        """Rows of a table (K, O) for tiles: (n, Rt, Ct) -> (n, Rt, Ct, O)."""
        return table.index_select(0, classes.flatten()).unflatten(0, classes.shape)


def visit(
    architecture: Architecture,
    points: Points,
    crops: Crops,
    batch: Batch,
    shared: dict[str, Tensor],
    learned: list[Tensor],
    rate: Tensor | float,
    counts: bool = True,
) -> Visited:
    """Gradients of one sample by the weights `learned`, which `shared` came from; the posteriors make an E-step.

    rate: share of a Newton step; counts: for the next M-step too.
    """
    if not len(batch.places):
        nothing = batch.eps.new_zeros(0)
        return Visited([torch.zeros_like(weights) for weights in learned], nothing, nothing)
    tables = points.tables(batch.point)
    pixels = crops.colours(batch.point, batch.places)
    classes = crops.assigned[batch.point, batch.places].long()
    lapping = crops.lapping.of_crops(batch.point, batch.places)
    target = lapping.latents(points.colours.components(pixels))
    prior = tables.prior(classes)
    scale = closed_form(target, prior)[1]
    difference = crops.difference[batch.point, batch.places].float()
    mean = torch.where(prior.coded, target + tables.unit * difference, prior.mean)

    leaf = mean.detach().requires_grad_()
    network = Network(architecture, shared, classes, TrainingOps, single=points.single)
    shown = network.layers(lapping.field(leaf + scale * batch.eps))
    error = distortion(shown, pixels).sum((1, 2))
    probed = batch.signs is not None
    gradient, *of_weights = torch.autograd.grad(
        error.sum(), [leaf, *learned], retain_graph=probed, materialize_grads=True
    )
    moved = reachable(newton(mean, scale, gradient / tables.beta, prior, rate), prior)
    crops.difference[batch.point, batch.places] = ((moved - target) / tables.unit).half()

    if counts:
        points.evidence.count(batch.point, fixed_point(moved, scale, prior), tables.rows_of(classes))
    if probed:
        (row_of_jacobian,) = torch.autograd.grad((shown * batch.signs).sum(), leaf)
        points.evidence.count_probe(batch.point, row_of_jacobian**2, well_coded(prior))
    of_latents = kl_nats(moved, scale, prior).sum((1, 2, 3))
    nats = of_latents + map_nats(points, batch.point, classes)
    return Visited([each / tables.beta for each in of_weights], error.detach(), nats)


def newton(
    mean: Tensor,
    scale: Tensor,
    gradient: Tensor,
    prior: Gaussians,
    rate: Tensor | float,
) -> Tensor:
    """Posterior means after a share `rate` of a Newton step on squared error / beta, whose gradient this is, + KL."""
    variance = prior.scale.clamp(min=LEAST_SCALE) ** 2
    pull = torch.where(prior.coded, (mean - prior.mean) / variance, 0.0)
    return mean - rate * scale**2 * (gradient + pull)


def fixed_point(
    mean: Tensor,
    scale: Tensor,
    prior: Gaussians,
) -> Tensor:
    """What an M-step averages to get s^2, per latent, from posterior means and scales.

    The plain s^2 = mean(sigma^2 + (mu - m)^2) creeps, as mu is shrunk by the last s. Where the data speak (LOUD) this
    takes its fixed point instead: with likelihood terms N(pulled; h, v) held fixed, v the typical posterior variance,
    that is s^2 = mean((pulled - m)^2) - v. (Elsewhere the jump multiplies the noise of mu: tried, and ELBO got worse
    below 0.5 bpp.)
    """
    deviation = mean - prior.mean
    factor = widening(prior)
    jump = (factor * deviation) ** 2 - prior.posterior_scale**2
    return torch.where(factor < LOUD, jump, scale**2 + deviation**2)


def widening(prior: Gaussians) -> Tensor:
    """Of a target's deviation over its posterior mean's (`closed_form`): 1 + sigma^2 / s^2, shaped as the prior."""
    return 1 + prior.posterior_scale**2 / prior.scale.clamp(min=LEAST_SCALE) ** 2


def well_coded(prior: Gaussians) -> Tensor:
    """Latents whose probes of the curvature count: bool, shaped as the prior.

    Where a class codes nothing, the network damps what is there. With the mean over all latents J was 0.3102 on
    validation, with this one 0.3068, with curvature 1 everywhere 0.3074 (beta 0.011).
    """
    return prior.scale**2 > WELL_CODED * prior.posterior_scale**2


def map_nats(
    points: Points,
    p: Tensor,
    classes: Tensor,
) -> Tensor:
    """What the class maps of crops cost, about: (n, Rt, Ct) -> (n,)."""
    log_frequency = row(points.frequency, p).log()
    names = torch.where(classes < points.single, 1.0, 0.25)  # four tiles name theirs once
    return -MAP_SHARE * (log_frequency[classes] * names).sum((1, 2))
