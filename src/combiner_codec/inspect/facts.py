"""All figures of a file as plain data: `combiner inspect --json`. numpy only."""

import numpy as np

from .figures import Inspection, Shown


def facts(found: Inspection) -> dict:
    """Everything as plain data. Figures of KL are null without a posterior, those of pixels without an original."""
    contents, header = found.contents, found.contents.header
    return {
        "width": header.width,
        "height": header.height,
        "colour": header.colour,
        "colour_axes": header.axes,
        "bytes": len(found.data),
        "bpp": round(8 * len(found.data) / (header.width * header.height), 4),
        "prior": contents.prior.name,
        "operating_point": header.point,
        "beta": found.point.beta,
        "bits": found.totals,
        "parts": [level_facts(found, level) for level in found.levels],
        "groups": {
            "bits_each": found.point.group_bits,
            "block": np.repeat(np.arange(len(found.groups.counts)), found.groups.counts).tolist(),
            "latents": found.groups.dims.tolist(),
            "prior_kl_bits": _plain(found.group_sums(found.costs)),
            "kl_bits": _of_posterior(found, found.group_sums),
        },
        "tiles": {
            "side": found.architecture.tile,
            "class": found.plane.classes.tolist(),
            "bits": _plain(found.tile_bits),
            "class_bits": _plain(found.class_bits),
            "kl_bits": _of_posterior(found, found.tile_map),
        },
        "hidden_units": {
            "counted": found.hidden_units,
            "active_in_prior": found.active_units(found.costs).tolist() if found.hidden_units else None,
            "active_in_posterior": _of_posterior(found, found.active_units) if found.hidden_units else None,
        },
        "psnr": None if found.original is None else round(found.psnr, 4),
    }


def level_facts(found: Inspection, level: Shown) -> dict:
    """Latents and bits of one layer or size of tile, all tiles together."""

    def total(values):
        return round(float(found.cells(level, values).sum()), 3)

    return {
        "name": level.name,
        "layer": level.part.layer,
        "tile": level.side,
        "latents": found.cells(level, found.costs).size,
        "coded": int(np.count_nonzero(found.cells(level, found.costs))),
        "bits": total(found.bits),
        "prior_kl_bits": total(found.costs),
        "kl_bits": None if found.kl is None else total(found.kl),
    }


def _of_posterior(found, figure):
    return None if found.kl is None else _plain(figure(found.kl))


def _plain(values: np.ndarray):
    return np.round(values, 4).tolist()
