"""The report of `combiner inspect`, without maps. numpy only."""

import numpy as np

from .facts import level_facts
from .figures import ACTIVE, Inspection


def report(found: Inspection) -> str:
    """The report, without maps."""
    return "\n".join([*_budget(found), "", *_spread(found), "", *_units(found), "", *_sources(found)]) + "\n"


def _budget(found: Inspection) -> list[str]:
    header = found.contents.header
    pixels = header.width * header.height
    totals = found.totals
    parts = {level.name: level_facts(found, level) for level in found.levels}
    rows = {"header and checksum": {"bits": totals["header"]}, "class map": {"bits": totals["class_map"]}}
    if totals["modulations"]:
        rows["modulations"] = {"bits": totals["modulations"]}
    rows |= parts
    for name in ("alpha", "layer"):
        if totals[name]:
            rows[name] = {"bits": totals[name]}
    rows["padding"] = {"bits": totals["padding"]}
    rows["file"] = {
        "latents": sum(part["latents"] for part in parts.values()),
        "coded": sum(part["coded"] for part in parts.values()),
        "bits": totals["file"],
        "kl_bits": None if found.kl is None else sum(part["kl_bits"] for part in parts.values()),
    }
    columns = ["latents", "coded", "bits", "of file", "bpp"]
    if found.kl is not None:
        columns.append("KL, bits")
    lines = [
        f"{header.width} x {header.height}, {header.colour}, prior {found.contents.prior.name}, "
        f"operating point {header.point} (beta {found.point.beta:g}), {len(found.data)} bytes, "
        f"{8 * len(found.data) / pixels:.3f} bpp",
        "",
        _row("", columns),
    ]
    for name, row in rows.items():
        bits = row["bits"]
        cells = [
            row.get("latents", ""),
            row.get("coded", ""),
            round(bits),
            f"{bits / totals['file']:.1%}",
            f"{bits / pixels:.4f}",
        ]
        if found.kl is not None:
            kl_bits = row.get("kl_bits")
            cells.append("" if kl_bits is None else round(kl_bits))
        lines.append(_row(name, cells).rstrip())
    shared = len(found.architecture.layers) - len(found.architecture.stored)
    if shared:
        lines.append(f"{shared} more layers are shared: they come with the prior")
    return lines


def _row(name: str, cells: list) -> str:
    """A line of a table: a name, and columns of ten characters."""
    columns = [f"{cell:>10}" for cell in cells]
    return f"{name:34}" + "".join(columns)


def _spread(found: Inspection) -> list[str]:
    side = found.architecture.tile
    tiles = f"tiles of {side} x {side}"
    figures = {"streams, bits each": found.lengths, "groups, latents each": found.groups.dims}
    if found.kl is not None:
        figures[f"groups, KL each ({found.point.group_bits} bits)"] = found.group_sums(found.kl)
    figures[f"{tiles}, bits each"] = found.tile_bits.reshape(-1)
    if found.kl is not None:
        figures[f"{tiles}, KL each"] = found.tile_map(found.kl).reshape(-1)
    lines = [_row("", ["count", "least", "median", "mean", "most"])]
    for name, values in figures.items():
        if len(values):
            spread = (values.min(), np.median(values), values.mean(), values.max())
            lines.append(_row(name, [len(values), *(f"{value:.1f}" for value in spread)]))
    return lines


def _units(found: Inspection) -> list[str]:
    figures = {"in the prior": found.costs}
    if found.kl is not None:
        figures["in this posterior"] = found.kl
    active = [f"{(bits >= ACTIVE).sum()} {where}" for where, bits in figures.items()]
    lines = [f"latents of at least 1 bit: {', '.join(active)}, of {found.costs.size}"]
    if not found.hidden_units:
        return [*lines, "active hidden units: none are counted, their weights are shared"]
    units = [f"{_range(found.active_units(bits))} {where}" for where, bits in figures.items()]
    return [*lines, f"active hidden units: {', '.join(units)}, of {found.hidden_units}"]


def _sources(found: Inspection) -> list[str]:
    lines = ["from the file and its prior: all figures"]
    if found.kl is not None:
        lines[0] += " but those of KL and posterior"
    if found.kl is None:
        lines.append("KL and the posterior's active units need --posterior (encode --save-posterior)")
    else:
        share = found.kl.sum() / max(1, found.totals["streams"])
        lines.append(f"from the posterior: KL of {found.kl.sum():.0f} bits, {share:.3f} of the streams' bits")
    if found.original is not None:
        lines.append(f"from the original: PSNR {found.psnr:.2f} dB")
    return lines


def _range(counts: np.ndarray) -> str:
    low = counts.min()
    high = counts.max()
    if low == high:
        return str(low)
    return f"{low} to {high} a tile (mean {counts.mean():.1f})"
