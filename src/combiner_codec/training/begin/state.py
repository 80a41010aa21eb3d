"""Everything that learning begins with: in closed form, or from a prior. Needs torch. Shapes: see tables.py."""

from torch import Tensor

from ...encoder.fit.analysis import ColourMap
from ...encoder.fit.posterior import shared_weights
from ...errors import FormatError
from ...format.prior import OperatingPoint, Prior
from ..finish import graphics
from ..plan import Plan
from ..together.measure import on_held, on_training
from ..together.network import Shared, class_features, normalised
from ..together.state import State, first_state
from .colour import learn_colour_map
from .points import First, alike, known_first, learned_first, stacked, with_rest


def begun(
    plan: Plan,
    pixels: Tensor,
    held: Tensor | None,
    start: Prior | None,
) -> State:
    """From training crops of every operating point, (P, N, side, side, 3) uint8, and validation crops
    (n, side, side, 3), if there are any.

    start: a prior to begin with. Raises FormatError where its points, classes or architecture are not the plan's.
    """
    known = known_points(plan, start) if start else []
    if known:
        colours = ColourMap.of(plan.architecture, shared_weights(known[0], plan.device))
        firsts = known_first(plan, colours, known, pixels)
    else:
        colours = learn_colour_map(pixels, plan.shards)
        firsts = learned_first(plan, colours, pixels)
    points = stacked(plan, colours, firsts, pixels, held)
    state = first_state(plan, points, features(plan, firsts))
    if known:
        weights = [_weights(plan, point) for point in known]
        for network in (state.network, state.average):
            network.adopt(weights, start.architecture)
    every = range(plan.points)
    state.progress.before = [on_training(plan, state, p).cost for p in every]
    if held is not None:
        state.progress.before_held = [on_held(plan, state, p, linear=True).cost for p in every]
    return state


def features(plan: Plan, firsts: list[First]) -> Tensor:
    """What the network knows of all operating points' classes: (P, K, F)."""
    found = []
    for first in firsts:
        ratio = first.tables.marginal / first.tables.noise
        found.append(class_features(ratio, plan.architecture.tile, first.tables.single))
    single = max(plan.settings.classes)
    singles = [first.tables.single for first in firsts]
    return alike(list(normalised(found)), singles, single)


def known_points(plan: Plan, start: Prior) -> list[OperatingPoint]:
    """A prior's operating points, less classes of graphics, which come anew. Raises FormatError where a family has
    other operating points or other numbers of single tiles' classes; points may do without merged tiles.
    """
    made = len(start.metadata.get("graphics", ()))
    points = [graphics.without(start.operating_point(p), made) for p in range(len(start.betas))]
    ours = plan.settings.betas, plan.settings.classes
    theirs = tuple(start.betas), tuple(point.single for point in points)
    if ours != theirs:
        raise FormatError(f"{start.name}: a prior of other operating points or classes")
    return points


def _weights(plan: Plan, point: OperatingPoint) -> Shared:
    """Weights of its shared layers, with biases for as many classes as the point with the most has."""
    weights = shared_weights(point, plan.device)
    single = max(plan.settings.classes)
    for name, values in weights.items():
        if values.ndim == 2:
            weights[name] = with_rest(values, point.single, single, plan.settings.merged)
    return weights
