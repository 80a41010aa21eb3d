"""`make ablation`: what each part of the family for photographs is worth.

Every variant gets a prior of its own, trained for the same time on the same crops, and codes the same photographs.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import prior as priors
from ..errors import FormatError
from ..prior import Prior
from . import report
from .codecs import CombinerCodec
from .measure import Store, measure, points
from .pictures import Group, collect, grouped

PICTURES = 6
CROPS = 400
PROBE = 16  # steps that a variant's pace is measured on
WITHOUT = ("hierarchy", "permutation", "the adapting prior", "sine layers")


@dataclass(frozen=True)
class Settings:
    """One run: `photos` holds train/ and val/; priors and checkpoints go to `work`."""

    photos: Path
    out: Path
    work: Path
    betas: tuple[float, ...] = (0.0045, 0.02)
    seconds: float = 240.0  # of training, for each prior
    threads: int = 0
    note: str = ""


def learn(settings: Settings, beta: float, without: str, path: Path, say: Callable[[str], None]) -> None:
    """Train a prior for photographs without one of its parts."""
    import torch

    from .. import train

    torch.set_num_threads(settings.threads or torch.get_num_threads())
    recipe = train.RECIPES["photo"]
    plan = replace(recipe.settings, betas=(beta,), classes=recipe.settings.classes[:1])
    architecture = recipe.architecture
    if without == "hierarchy":  # blocks stay as large: streams are as long
        architecture = replace(architecture, coarse=tuple(replace(grid, keep=0) for grid in architecture.coarse))
    if without == "the adapting prior":
        plan = replace(plan, classes=(1,))
    if without == "sine layers":
        architecture = train.linear_part(architecture)
    pixels = train.load_images([settings.photos / "train"], recipe.side, CROPS, 0, octaves=recipe.octaves)

    def fit(pixels, steps):
        family = train.Family(pixels, architecture, replace(plan, steps=steps, first_steps=steps), say)
        started = time.perf_counter()
        return family.level(0), time.perf_counter() - started

    steps = 0  # without sine layers, it has a closed form
    if without != "sine layers":
        few = pixels[: 4 * plan.batch]
        pace = (fit(few, 2 * PROBE)[1] - fit(few, PROBE)[1]) / PROBE
        steps = max(1, round(settings.seconds / pace))
    level, seconds = fit(pixels, steps)
    trained = {"without": without, "steps": steps, "seconds": round(seconds), "crops": CROPS}
    level = replace(level, mixed=without != "permutation")
    priors.save(path, {**train.METADATA, "trained": trained}, architecture, [level])


def variants(settings: Settings, beta: float, say: Callable[[str], None]) -> dict[str, tuple[CombinerCodec, Prior]]:
    """Codecs for one beta, by the name of their row."""
    from ..fit import EFFORTS

    def prior(without: str) -> Prior:
        path = settings.work / f"{without.replace(' ', '-') or 'whole'}-{beta:g}.npz"
        if not path.exists():
            say(f"training without {without or 'nothing'}")
            learn(settings, beta, without, path, say)
        return priors.load_file(path)

    whole = prior("")
    refined = replace(EFFORTS["normal"], steps=EFFORTS["fast"].steps, index_bits=EFFORTS["fast"].index_bits)
    rows = {"`fast` with refinement": (refined, whole), "`fast`, which is without refinement": ("fast", whole)}
    rows |= {f"… and without {name}": ("fast", prior(name)) for name in WITHOUT}
    return {name: (CombinerCodec(name, effort, (beta,), prior), prior) for name, (effort, prior) in rows.items()}


def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Measure what is missing and write ablation.md."""
    pictures, problems = collect([settings.photos / "val"], PICTURES)
    if problems or len(pictures) < PICTURES:
        raise FormatError(f"{settings.photos / 'val'}: {PICTURES} photographs are needed")
    settings.work.mkdir(parents=True, exist_ok=True)
    store, groups, rows, stamps = Store(settings.out / "ablation.json"), grouped(pictures), [], set()
    for beta in settings.betas:
        for name, (codec, prior) in variants(settings, beta, say).items():
            for line in measure([codec], groups, store, settings.threads, say):
                say(line)
            (point,) = points(codec, groups, store)
            stamps |= set(store.machines([codec], groups))
            trained = prior.metadata["trained"]
            cost = lagrangian(beta, [store.find(codec, beta, group) for group in groups], groups)
            rows.append(
                [f"{beta:g}", name, f"{point.bpp:.3f}", f"{point.psnr:.2f}", f"{cost:.3f}",
                 f"{point.encode_seconds:.1f}", f"{trained['seconds']} s, {trained['steps']} steps"]
            )  # fmt: skip
    names = ", ".join(Path(p.name).stem for p in pictures)
    lines = [
        "# Ablation on photographs",
        "",
        f"Made by `make ablation`. {PICTURES} validation photographs ({names}), whole files, means.",
        "J is the Lagrangian per pixel, MSE + beta ln 2 bpp, in units of 1e-3: smaller is better, and it",
        f"compares rows of different rates at one beta. Each prior had about {settings.seconds:g} s of gradient steps",
        f"on the same {CROPS} crops (classes not counted); only the linear one has a closed form and needs none.",
        settings.note,
        "",
        *report.table(["beta", "row", "bpp", "dB", "J, 1e-3", "encode, s", "training"], rows),
        "",
        *(f"Measured {line}" for line in sorted(stamps)),
    ]  # fmt: skip
    (settings.out / "ablation.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def lagrangian(beta: float, records: Sequence[dict], groups: Sequence[Group]) -> float:
    """Mean of MSE + beta ln 2 bits per pixel, in units of 1e-3."""
    costs = [
        10 ** (-psnr / 10) + beta * np.log(2) * 8 * size / picture.size
        for record, group in zip(records, groups, strict=True)
        for psnr, size, picture in zip(record["psnr"], record["bytes"], group.pictures, strict=True)
    ]
    return 1e3 * float(np.mean(costs))
