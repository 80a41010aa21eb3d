"""The families that `combiner train` knows: architecture, settings, what pictures look like."""

from dataclasses import dataclass, field, replace

from ..synthesis.architecture import Architecture, Layer
from .siren.recipe import SIREN_METADATA, siren_architecture

# What prior files say to the encoder (FORMAT.md, section 8): steps of a fit and their rate, whether posterior scales
# are fitted too, and how many groups share one controlled beta (0: none has its own).
METADATA = {"steps": 30, "rate": 0.3, "fit_scale": False, "budget_groups": 0}
BY_WIDTH = {"group_bits": [6, 4, 3]}  # with indices of 14, 16 and 18 bits
WIDTH = 32  # channels of the shared layers
DEPTH = 4  # shared layers before the last


def folded_architecture(
    tile: int = 16,
    side: int = 4,
    width: int = WIDTH,
    depth: int = DEPTH,
) -> Architecture:
    """A linear layer of latents on cosine features, then shared layers at half resolution that refine the field.

    SiLU layers and a sine layer, each with a bias for every class; what they say is added to the field's colours.
    """
    hidden = {"window": 3, "fold": 2, "by_class": True}
    layers = [
        Layer("linear", tile * tile, 3, latent=True, bias=False),
        Layer("linear", 3, 3),  # colour map
        Layer("silu", 12, width, **hidden),
    ]
    for number in range(3, depth + 1):
        layers.append(Layer("silu", width, width, residual_of=number - 1, **hidden))
    layers.append(Layer("sine", width, width, residual_of=depth, **hidden))
    layers.append(Layer("linear", width, 12, window=3, fold=2, residual_of=1))
    return Architecture("cosine", tile, tuple(layers), side)


def linear_part(architecture: Architecture) -> Architecture:
    """The same without the layers after the colour map."""
    return replace(architecture, layers=architecture.layers[: architecture.colour + 1])


@dataclass(frozen=True)
class TrainSettings:
    """How all operating points of a family are learned at once, the shared layers end to end."""

    betas: tuple[float, ...]  # squared error, summed over pixels, per nat
    classes: tuple[int, ...]  # of single tiles, per operating point
    merged: int = 0  # classes of merged tiles at every operating point
    visits: tuple[
        float, ...
    ] = ()  # how often each operating point has its turn, next to the others; all alike if empty
    crops: int = 2000  # of every operating point
    minutes: float = 600.0  # of all points together and over all runs
    steps: int | None = None  # of all points together, instead of a time
    batch: int = 8  # pictures per step
    separate: float = 0.03  # share of the steps or of the time after which every point has its own weights
    group_bits: int = 6  # bits that a group adds to its block's stream
    index_bits: int = 16  # width of an index
    seed: int = 0  # of crops, batches, posterior samples and starting weights
    light: bool = False  # whether checkpoints go without posteriors of crops, which are most of their bytes

    def share(self, step: int, seconds: float) -> float:
        """Of the steps or of the time that is over."""
        if self.steps is not None:
            limit, gone = self.steps, step
        else:
            limit, gone = 60 * self.minutes, seconds
        return min(1.0, gone / limit) if limit else 1.0


@dataclass(frozen=True)
class Recipe:
    """A family that `combiner train` knows."""

    architecture: Architecture
    settings: TrainSettings
    side: int  # pixels along the side of a training picture
    octaves: float  # powers of two by which crops of photographs are scaled down, at most
    least_octaves: float | None = None  # by which all of them are, at least; None leaves most as they are
    modulated: bool = False  # whether large pictures are to have a network of their own
    graphics: bool = True  # whether there are classes for tiles that no photograph has
    pyramid: int = 0  # levels of sums of lowest frequencies, which are learned last
    metadata: dict = field(default_factory=METADATA.copy)  # what prior files say to the encoder

    @property
    def finished(self) -> Architecture:
        """The architecture of a prior file."""
        return replace(self.architecture, pyramid=self.pyramid)


PHOTO = TrainSettings(
    betas=(0.06, 0.03, 0.018, 0.011, 0.007, 0.0045, 0.0028, 0.0016, 0.0009, 0.0005, 0.00025),
    classes=(128,) * 11,
    merged=64,
    visits=(0.6, 1, 1, 1, 1, 1, 1, 1, 1, 0.7, 0.6),  # the ends are for few pictures
)
SMALL = TrainSettings(
    betas=(0.1, 0.05, 0.025, 0.0125, 0.006, 0.003, 0.0016, 0.0008, 0.0004, 0.0002, 0.0001, 0.00005),
    classes=(64,) * 12,
    merged=48,
    crops=6000,
    batch=128,
    index_bits=18,
)
NANO = TrainSettings(
    betas=(0.06, 0.026, 0.011),  # of photographs in about 60, 110 and 200 bytes
    classes=(28,) * 3,
    merged=12,
    crops=2600,
    batch=32,
    separate=2.0,  # never: the points' weights differ by factors, so a small file holds them once
)
SIREN = TrainSettings(betas=(0.002,), classes=(1,), minutes=40.0)

RECIPES = {
    "small": Recipe(folded_architecture(side=2), SMALL, 32, 4.0, metadata=METADATA | BY_WIDTH | {"steps": 60}),
    "photo": Recipe(folded_architecture(), PHOTO, 128, 1.0, modulated=True, pyramid=2, metadata=METADATA | BY_WIDTH),
    "nano": Recipe(folded_architecture(width=16), NANO, 64, 3.4, 1.6, graphics=False),
    "combiner-cifar": Recipe(siren_architecture(), SIREN, 32, 0.0, metadata=SIREN_METADATA),
}
