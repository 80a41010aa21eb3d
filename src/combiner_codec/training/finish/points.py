"""Operating points as a prior file holds them. Needs torch. Shapes: see tables.py."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ...format.operating_point import OperatingPoint
from ...format.streams import index_of
from ..plan import Plan
from ..recipes import TrainSettings
from ..tables import Tables
from ..together.measure import average_weights
from ..together.state import State
from . import contexts


def operating_point(plan: Plan, state: State, p: int) -> OperatingPoint:
    """Point p with the average network, and with a class map learned from all crops."""
    points = state.points
    single = plan.settings.classes[p]
    rest = points.single - single  # classes that only other points have
    tables = points.tables(p)
    merged = plan.settings.merged if points.frequency[p, points.single :].any() else 0  # as the point began
    variance = _without(tables.variance, single, rest)
    tables = replace(tables, variance=variance[: single + 4 * merged], single=single)
    shared = {}
    for name, values in average_weights(state, p).items():
        if values.ndim == 2:  # biases (K, O)
            values = _without(values, single, rest)[: single + merged]
        shared[name] = values.cpu().numpy().copy()
    maps = plan.shards.whole(points.crops.assigned[p])
    maps = torch.where(maps < points.single, maps, maps - rest).cpu().numpy()
    of_map = contexts.learn(list(maps), single + merged, single)
    return frozen(tables, shared, of_map, plan.settings)


def _without(values: Tensor, single: int, rest: int) -> Tensor:
    """Less the rows of `rest` classes after the first `single`."""
    return torch.cat([values[:single], values[single + rest :]])


def frozen(
    tables: Tables,
    shared: dict[str, np.ndarray],
    of_map: np.ndarray,
    settings: TrainSettings,
) -> OperatingPoint:
    """From tables, weights of the shared layers and tables of the class map."""
    rows = index_of(tables.kl_bits().cpu().numpy())
    return OperatingPoint(
        beta=float(tables.beta),
        mean=tables.mean.cpu().numpy(),
        posterior_scale=tables.posterior_variance.sqrt().cpu().numpy(),
        kl_index=rows[: tables.single],
        merged=rows[tables.single :].reshape(-1, 4, rows.shape[1]),
        shared=shared,
        group_bits=settings.group_bits,
        index_bits=settings.index_bits,
        contexts=of_map,
    )
