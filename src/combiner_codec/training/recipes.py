"""The families that `combiner train` knows: architecture, settings, what pictures look like."""

from dataclasses import dataclass, replace

from ..synthesis.architecture import Architecture, Layer

# What prior files say to the encoder (FORMAT.md, section 8): steps of a fit and their rate, whether posterior scales
# are fitted too, and how many groups share one controlled beta (0: none has its own).
METADATA = {"steps": 30, "rate": 0.3, "fit_scale": False, "budget_groups": 0}
SIREN_METADATA = {"steps": 800, "rate": 0.1, "fit_scale": True, "budget_groups": 1}


def folded_architecture(tile: int = 16, side: int = 4, width: int = 32) -> Architecture:
    """A linear layer of latents on cosine features, then shared layers at half resolution that refine the field.

    SiLU layers and a sine layer, each with a bias for every class; what they say is added to the field's colours.
    """
    hidden = {"window": 3, "fold": 2, "by_class": True}
    return Architecture(
        "cosine",
        tile,
        (
            Layer("linear", tile * tile, 3, latent=True, bias=False),
            Layer("linear", 3, 3),  # colour map
            Layer("silu", 12, width, **hidden),
            Layer("silu", width, width, residual_of=2, **hidden),
            Layer("silu", width, width, residual_of=3, **hidden),
            Layer("sine", width, width, residual_of=4, **hidden),
            Layer("linear", width, 12, window=3, fold=2, residual_of=1),
        ),
        side,
    )


def linear_part(architecture: Architecture) -> Architecture:
    """The same without sine layers: latents and colour map."""
    return replace(architecture, layers=architecture.layers[: architecture.colour + 1])


def siren_architecture(tile: int = 32) -> Architecture:
    """The paper's CIFAR-10 network: 1,123 weights, all stored (COMBINER, appendix; SIREN)."""
    scale = 6**0.5 / (3**0.5 * 4)  # standard deviation of SIREN's uniform weights, 16 inputs, times omega
    return Architecture(
        "fourier",
        tile,
        (
            Layer("sine", 32, 16, latent=True, scale=scale),
            Layer("sine", 16, 16, latent=True, scale=scale),
            Layer("sine", 16, 16, latent=True, scale=scale),
            Layer("linear", 16, 3, latent=True, scale=scale),
        ),
    )


@dataclass(frozen=True)
class TrainSettings:
    """How all operating points of a family are learned at once, the shared layers end to end (joint.py)."""

    betas: tuple[float, ...]  # squared error, summed over pixels, per nat
    classes: tuple[int, ...]  # of single tiles, per operating point
    merged: int = 0  # classes of merged tiles of every operating point
    visits: tuple[float, ...] = ()  # how often each has its turn, against the others; () for all alike
    crops: int = 2000  # of each operating point
    minutes: float = 600.0  # over all runs
    steps: int | None = None  # minibatch steps of all points together, instead of a time
    batch: int = 8  # pictures per step
    own: float = 0.03  # share of the steps or of the time after which every point has its own weights
    group_bits: int = 6  # bits that a group adds to its block's stream
    index_bits: int = 16  # width of an index
    seed: int = 0  # of crops, batches, posterior samples and starting weights

    def share(self, step: int, seconds: float) -> float:
        """Of the steps or of the time that is over."""
        if self.steps is not None:
            limit, gone = self.steps, step
        else:
            limit, gone = 60 * self.minutes, seconds
        return min(1.0, gone / limit) if limit else 1.0


PHOTO = TrainSettings(
    (0.06, 0.03, 0.018, 0.011, 0.007, 0.0045, 0.0028, 0.0016, 0.0009, 0.0005, 0.00025),
    (128,) * 11,
    64,
    (0.6, 1, 1, 1, 1, 1, 1, 1, 1, 0.7, 0.6),  # the ends are for few pictures
)

SMALL = TrainSettings(
    (0.1, 0.05, 0.025, 0.0125, 0.006, 0.003, 0.0016, 0.0008, 0.0004, 0.0002, 0.0001, 0.00005),
    (64,) * 12,
    48,
    crops=6000,
    batch=128,
)
SIREN = TrainSettings((0.002,), (1,), minutes=40.0)


@dataclass(frozen=True)
class Recipe:
    """A family that `combiner train` knows."""

    architecture: Architecture
    settings: TrainSettings
    side: int  # pixels along the side of a training picture
    octaves: float  # powers of two by which crops of photographs are scaled down, at most
    modulated: bool = False  # whether large pictures are to have a network of their own


RECIPES = {
    "small": Recipe(folded_architecture(side=2), SMALL, 32, 4.0),
    "photo": Recipe(folded_architecture(), PHOTO, 128, 1.0, modulated=True),
    "combiner-cifar": Recipe(siren_architecture(), SIREN, 32, 0.0),
}
