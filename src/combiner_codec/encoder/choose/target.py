"""Pictures encoded to a size or a PSNR: a size is known before the fit, a PSNR is met by one file after another."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from ...errors import TargetError
from ...synthesis.rectangle import Rectangle
from ..batch import Batch, Job
from ..encoded import Encoded
from ..goal import MET, Goal
from ..settings import EFFORTS
from .aim import Aim
from .choices import Choice, Choices
from .search import sufficient, within_size

SMALL = 2**14  # pixels up to which `normal` works harder for a wanted size
HARDER = replace(EFFORTS["normal"], trials=2, wider=2)  # 0.07 dB more at 64x64 and 100 bytes, in twice the time

# Set on the same photographs as the constants of search.py.
NEAR = 0.15  # dB from a wanted PSNR that are good enough for a first encoding
GAINS = {"fast": -0.3, "normal": 0.0, "best": 0.15}  # dB of files above the prediction, on photographs
GAIN_ALONE = 0.9  # dB more of a single tile


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
    if batch.pixels <= SMALL and batch.settings.effort == "normal":
        batch = batch.with_effort(HARDER)
    return _to_size(goal.size, choices_of(batch), batch)


def choices_of(batch: Batch) -> list[Choices]:
    """Of every picture."""
    everything = Rectangle.of(*batch.shape[:2])
    found = []
    for i, picture in enumerate(batch.stack.split(1)):
        weights = batch.weights([i], everything)
        found.append(Choices(batch.chooser, picture, batch.pixels, batch.file_size, weights))
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
    probe = "fast" if effort in GAINS and not alone else effort
    for attempt in range(aims[0].most_files):
        near = NEAR if attempt == 0 and not alone else MET
        chosen = []
        for i, aim in enumerate(aims):
            if aim.off <= near:
                continue
            choice = aim.next_choice(gains.get(probe, gain), probe)
            if (probe, choice.key) not in aim.tried:
                chosen.append((i, choice))
        if not chosen:
            break
        share = (1 - 0.5**attempt, 1 - 0.5 ** (attempt + 1))
        encoded = yield Round(batch.with_effort(probe), [job(i, choice) for i, choice in chosen], share)
        for (i, choice), result in zip(chosen, encoded, strict=True):
            aims[i].seen(probe, choice, result)
        if probe != effort:
            for aim in aims:
                aim.recalibrate(gain - gains[probe])
            probe = effort
    return [aim.result for aim in aims]


def job(picture: int, choice: Choice) -> Job:
    """A picture of a batch at a given point and with given classes."""
    return Job(picture, choice.point, choice.classes)
