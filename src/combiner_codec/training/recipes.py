"""The families that `combiner train` knows: architecture, settings, what pictures look like."""

from dataclasses import dataclass, replace

from ..synthesis.architecture import Architecture, Layer

# What prior files say to the encoder (FORMAT.md, section 8): steps of a fit and their rate, whether posterior scales
# are fitted too, and how many groups share one controlled beta (0: none has its own).
METADATA = {"steps": 30, "rate": 0.3, "fit_scale": False, "budget_groups": 0}
SIREN_METADATA = {"steps": 800, "rate": 0.1, "fit_scale": True, "budget_groups": 1}


def cosine_architecture(tile: int = 32) -> Architecture:
    """A linear layer of latents on cosine features, then shared sine layers that refine the field."""
    return Architecture(
        "cosine",
        tile,
        (
            Layer("linear", tile * tile, 3, latent=True, bias=False),
            Layer("linear", 3, 3),  # colour map
            Layer("sine", 3, 24, window=5, by_class=True),
            Layer("sine", 24, 16, window=3, by_class=True),
            Layer("linear", 16, 3, residual_of=1),
        ),
    )


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
    """How a family is learned. Operating points are learned in the order of `betas`, each from where the last ended."""

    betas: tuple[float, ...]  # squared error, summed over pixels, per nat
    classes: tuple[int, ...]  # K per operating point, the flat class included
    steps: int = 2000  # minibatch steps per operating point
    first_steps: int = 4000  # for the first operating point, which starts from a linear model
    batch: int = 64  # pictures per step
    m_steps: int = 8  # closed-form updates of the class tables per operating point
    rate: float = 2e-3  # Adam, shared weights
    e_rate: float = 0.25  # share of a Newton step that an E-step takes; falls to 0.03
    smoothing: float = 8.0  # tiles' worth of the average table in every class table
    group_bits: int = 6  # bits that a group adds to its block's stream
    index_bits: int = 16  # width of an index
    seed: int = 0  # of batches, posterior samples and starting weights


UPWARDS = (0.0016, 0.003, 0.006, 0.012, 0.025, 0.05, 0.1)
DOWNWARDS = (0.0016, 0.0009, 0.0005, 0.00028, 0.00016, 0.00009, 0.000055, 0.000035)
SMALL = TrainSettings(  # the second time 0.0016 is found among the checkpoints and gone on from
    UPWARDS + DOWNWARDS, (64, 64, 64, 32, 32, 16, 16) + (64,) * len(DOWNWARDS)
)


@dataclass(frozen=True)
class JointSettings:
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


PHOTO = JointSettings(
    (0.06, 0.03, 0.018, 0.011, 0.007, 0.0045, 0.0028, 0.0016, 0.0009, 0.0005, 0.00025),
    (128,) * 11,
    64,
    (0.6, 1, 1, 1, 1, 1, 1, 1, 1, 0.7, 0.6),  # the ends are for few pictures
)


@dataclass(frozen=True)
class Recipe:
    """A family that `combiner train` knows."""

    architecture: Architecture
    settings: TrainSettings | JointSettings
    side: int  # pixels along the side of a training picture
    octaves: float  # powers of two by which crops of photographs are scaled down, at most


RECIPES = {
    "small": Recipe(cosine_architecture(), SMALL, 32, 4.0),
    "photo": Recipe(folded_architecture(), PHOTO, 128, 1.0),
    "combiner-cifar": Recipe(siren_architecture(), TrainSettings((0.002,), (1,)), 32, 4.0),
}
