"""The report of `combiner inspect`, without maps. numpy only."""

import numpy as np

from .facts import level_facts
from .figures import ACTIVE, Inspection


def report(found: Inspection) -> str:
    """The report, without maps."""
    return "\n".join([*_budget(found), "", *_spread(found), "", *_units(found), "", *_sources(found)]) + "\n"


def _budget(found) -> list[str]:
    header, point, totals = found.contents.header, found.point, found.totals
    pixels = header.width * header.height
    parts = [(level.name, level_facts(found, level)) for level in found.levels]
    rows = [("header and checksum", {"bits": totals["header"]}), ("class map", {"bits": totals["class_map"]})]
    rows += [("modulations", {"bits": totals["modulations"]})] if totals["modulations"] else []
    alpha = [("alpha", {"bits": totals["alpha"]})] if totals["alpha"] else []
    rows += [*parts, *alpha, ("padding", {"bits": totals["padding"]})]
    last = {name: sum(row[name] for _, row in parts) for name in ("latents", "coded")}
    last |= {
        "bits": totals["file"],
        "kl_bits": None if found.kl is None else sum(row["kl_bits"] for _, row in parts),
    }
    columns = ["latents", "coded", "bits", "of file", "bpp", *([] if found.kl is None else ["KL, bits"])]
    lines = [
        f"{header.width} x {header.height}, {header.colour}, prior {found.contents.prior.name}, "
        f"operating point {header.point} (beta {point.beta:g}), {len(found.data)} bytes, "
        f"{8 * len(found.data) / pixels:.3f} bpp",
        "",
        f"{'':34}" + "".join(f"{name:>10}" for name in columns),
    ]
    for name, row in [*rows, ("file", last)]:
        cells = [row.get("latents", ""), row.get("coded", ""), round(row["bits"])]
        cells += [f"{row['bits'] / totals['file']:.1%}", f"{row['bits'] / pixels:.4f}"]
        cells += [] if found.kl is None else ["" if row.get("kl_bits") is None else round(row["kl_bits"])]
        lines.append((f"{name:34}" + "".join(f"{cell:>10}" for cell in cells)).rstrip())
    shared = len(found.architecture.layers) - len(found.architecture.stored)
    return lines + ([f"{shared} more layers are shared: they come with the prior"] if shared else [])


def _spread(found) -> list[str]:
    point, tile = found.point, found.architecture.tile
    figures = [("streams, bits each", found.lengths), ("groups, latents each", found.groups.dims)]
    if found.kl is not None:
        figures.append((f"groups, KL each ({point.group_bits} bits)", found.group_sums(found.kl)))
    figures.append((f"tiles of {tile} x {tile}, bits each", found.tile_bits.reshape(-1)))
    if found.kl is not None:
        figures.append((f"tiles of {tile} x {tile}, KL each", found.tile_map(found.kl).reshape(-1)))
    lines = [f"{'':34}{'count':>10}{'least':>10}{'median':>10}{'mean':>10}{'most':>10}"]
    for name, x in figures:
        if len(x):
            values = (x.min(), np.median(x), x.mean(), x.max())
            lines.append(f"{name:34}{len(x):>10}" + "".join(f"{value:>10.1f}" for value in values))
    return lines


def _units(found) -> list[str]:
    enough = [("in the prior", found.costs)] + ([] if found.kl is None else [("in this posterior", found.kl)])
    shown = ", ".join(f"{(x >= ACTIVE).sum()} {name}" for name, x in enough)
    lines = [f"latents of at least 1 bit: {shown}, of {found.costs.size}"]
    if not found.hidden_units:
        return [*lines, "active hidden units: none are counted, their weights are shared"]
    shown = ", ".join(f"{_range(found.active_units(x))} {name}" for name, x in enough)
    return [*lines, f"active hidden units: {shown}, of {found.hidden_units}"]


def _sources(found) -> list[str]:
    lines = [
        "from the file and its prior: all figures" + ("" if found.kl is None else " but those of KL and posterior")
    ]
    if found.kl is None:
        lines.append("KL and the posterior's active units need --posterior (encode --save-posterior)")
    else:
        share = found.kl.sum() / max(1, found.totals["streams"])
        lines.append(f"from the posterior: KL of {found.kl.sum():.0f} bits, {share:.3f} of the streams' bits")
    if found.original is not None:
        lines.append(f"from the original: PSNR {found.psnr:.2f} dB")
    return lines


def _range(counts: np.ndarray) -> str:
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high} a tile (mean {counts.mean():.1f})"
