"""Pictures encoded to a size or a PSNR: a size is known before the fit, a PSNR is met by one file after another."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ...errors import TargetError
from ..batch import Batch, Job
from ..encoded import Encoded
from ..goal import MET, Goal
from ..settings import EFFORTS
from .aim import Aim
from .choices import Choice, Choices
from .search import sufficient, within_size

SMALL = 2**14  # pixels up to which `normal` works harder for a wanted size
HARDER = replace(EFFORTS["normal"], trials=2, wider=2)  # 0.07 dB more at 64x64 and 100 bytes, in twice the time
PREVIEW_POINTS = 3  # that a prior for previews has: there it would be 0.02 to 0.04 dB more, in three times the time

# Set on the same photographs as the constants of search.py.
GAINS = {"fast": -0.3, "normal": 0.0, "best": 0.15}  # dB of files above the prediction, on photographs
GAIN_ALONE = 0.9  # dB more of a single tile
SAMPLE_FILES = 2  # that are made of a sample, at most: its gain is another one far from the wanted PSNR
AGAIN = 0.5  # share of the work that is left after a file
AGAIN_SAMPLED = 0.1  # the same where a sample has shown what the file would be: another one is rare


@dataclass(frozen=True)
class Round:
    """Files that are wanted next; what they are decides what is wanted after them."""

    batch: Batch
    jobs: list[Job]
    share: tuple[float, float] = (0, 1)  # of the work that they are


Rounds = Generator[Round, list[Encoded], list[Encoded | TargetError]]  # takes files for a round, and ends with results


def rounds(goal: Goal, batch: Batch) -> Rounds:
    """Pictures of one shape on their way to a goal, each at its own operating point.

    A TargetError stands for a picture that cannot be brought to the size.
    """
    if goal.size is None:
        return _to_psnr([Aim(choices, goal.psnr) for choices in choices_of(batch)], batch)
    for_previews = len(batch.prior.betas) <= PREVIEW_POINTS
    if batch.pixels <= SMALL and batch.settings.effort == "normal" and not for_previews:
        batch = batch.with_effort(HARDER)
    return _to_size(goal.size, choices_of(batch), batch)


def choices_of(batch: Batch) -> list[Choices]:
    """Of every picture."""
    found = []
    for i in range(len(batch.pictures)):
        area_of = partial(batch.area, [i])
        weights_of = partial(batch.weights, [i])
        sample = batch.sample(i)
        smaller = choices_of(sample)[0] if sample else None
        choices = Choices(batch.chooser, batch.shape, batch.bands, area_of, weights_of, batch.file_size, smaller)
        found.append(choices)
    return found


def _to_size(size: int, of_pictures: Sequence[Choices], batch: Batch) -> Rounds:
    """The best of the likeliest files of every picture."""
    results: dict[int, Encoded | TargetError] = {}  # by number of the picture
    jobs = []
    for i, choices in enumerate(of_pictures):
        try:
            chosen = files_for(choices, size, batch)
        except TargetError as error:
            results[i] = error
        else:
            jobs += [job(i, choice) for choice in chosen]
        choices.forget()
    encoded = yield Round(batch, jobs)
    for asked, result in zip(jobs, encoded, strict=True):
        best = results.get(asked.picture)
        if best is None or batch.error_of(asked.picture, result) < batch.error_of(asked.picture, best):
            results[asked.picture] = result
    return [results[i] for i in range(len(of_pictures))]


def files_for(choices: Choices, size: int, batch: Batch) -> list[Choice]:
    """Files of a picture that are made for a size. Raises TargetError where it is too small."""
    enough = sufficient(choices, size)
    if not enough:
        return within_size(choices, size)[: batch.chooser.trials]
    return enough if batch.pixels <= SMALL else enough[:1]


def _to_psnr(aims: Sequence[Aim], batch: Batch) -> Rounds:
    """Encode, see how far the prediction was off, encode again; the first time `fast` where that is faster."""
    effort = batch.settings.effort
    alone = aims[0].alone
    surplus = GAIN_ALONE if alone else 0.0
    gains = {name: gain + surplus for name, gain in GAINS.items()}
    gain = gains.get(effort, gains["normal"])
    sampled = aims[0].choices.smaller is not None
    probe = "fast" if effort in GAINS and not alone and not sampled else effort
    begun = 0.0  # share of the work
    if sampled:
        begun = yield from _gains_of_samples(aims, batch, gain)
    again = AGAIN_SAMPLED if sampled else AGAIN
    for _ in range(aims[0].most_files):
        chosen = []
        for i, aim in enumerate(aims):
            if aim.off <= MET:
                continue
            choice = aim.next_choice(gains.get(probe, gain), probe)
            if (probe, choice.key) not in aim.tried:
                chosen.append((i, choice))
            aim.choices.forget()
        if not chosen:
            break
        ended = 1 - again * (1 - begun)
        jobs = [job(i, choice) for i, choice in chosen]
        encoded = yield Round(batch.with_effort(probe), jobs, (begun, ended))
        begun = ended
        for (i, choice), result in zip(chosen, encoded, strict=True):
            aims[i].seen(probe, choice, result)
        if probe != effort:
            for aim in aims:
                aim.recalibrate(gain - gains[probe])
            probe = effort
    return [aim.result for aim in aims]


def _gains_of_samples(aims: Sequence[Aim], batch: Batch, usual: float) -> Generator[Round, list[Encoded], float]:
    """Bring a sample of each large picture to the PSNR: what it gains there over its prediction the picture will, too.

    usual: such a gain. Returns the share of the work that this is.
    """
    done = 0.0
    for i, aim in enumerate(aims):
        sample = batch.sample(i)
        part = sample.pixels / (SAMPLE_FILES * sample.pixels + batch.pixels) / len(aims)
        of_sample = Aim(aim.choices.sample, aim.psnr)
        for _ in range(SAMPLE_FILES):
            choice = of_sample.next_choice(usual, batch.settings.effort)
            (file,) = yield Round(sample, [job(0, choice)], (done, done + part))
            done += part
            of_sample.seen(batch.settings.effort, choice, file)
            if of_sample.off <= MET:
                break
        predicted, real = min(of_sample.known, key=lambda pair: abs(pair[1] - aim.psnr))
        aim.gain = real - predicted
    return done


def job(picture: int, choice: Choice) -> Job:
    """A picture of a batch at a given point and with given classes."""
    return Job(picture, choice.point, choice.classes)
