"""One tile from pixels to bits and back, step by step: the numbers of docs/tile.md.

The encoder is called once. All else is computed here from the prior, as FORMAT.md has it, and compared with what the
decoder shows. Shapes: one tile of 16 x 16 pixels, U latents of the tile, D of its block, G groups.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from combiner_codec import decoder
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.saved import SavedPosterior
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import candidates, streams
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import OperatingPoint, Prior
from combiner_codec.synthesis.lapped import analyse
from combiner_codec.synthesis.latents import latent
from combiner_codec.synthesis.network import Network
from combiner_codec.synthesis.numpy_ops import NumpyOps

ROOT = Path(__file__).parents[1]
SAMPLE, LEFT, TOP = "hippos.png", 189, 280
SIDE = 16  # pixels of the tile
BETA, EFFORT = 0.006, "fast"


@dataclass(frozen=True)
class Tile:
    """A picture of one tile, its file, and the posterior that the encoder found for it."""

    pixels: np.ndarray  # (16, 16, 3) uint8
    data: bytes  # the file
    posterior: SavedPosterior  # (1, D) each

    @staticmethod
    def encoded() -> "Tile":
        """Cut from a shipped sample and encoded."""
        picture = np.array(Image.open(ROOT / "assets" / "samples" / SAMPLE).convert("RGB"))
        pixels = picture[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
        settings = Settings(BETA, EFFORT, device="cpu", threads=1, keep_posterior=True)
        (result,) = encode_arrays([pixels], priors.load("small"), settings)
        return Tile(pixels, result.data, result.saved)

    @property
    def prior(self) -> Prior:
        """The family for small pictures."""
        return priors.load("small")

    @cached_property
    def contents(self) -> decoder.Contents:
        """The parsed file."""
        return decoder.parse(self.data, self.prior)

    @property
    def seed(self) -> int:
        """Of the candidates."""
        return self.contents.header.seed

    @property
    def number(self) -> int:
        """Of the operating point."""
        return self.contents.header.point

    @property
    def point(self) -> OperatingPoint:
        """What the prior learned for the file's operating point."""
        return self.contents.colour.point

    @property
    def chosen_class(self) -> int:
        """The tile's."""
        return int(self.contents.colour.classes[0, 0])

    @property
    def index_bits(self) -> int:
        """L."""
        return self.contents.header.index_bits

    @cached_property
    def kl_index(self) -> np.ndarray:
        """Of every latent of the block, whose other three tiles lie beyond the picture: (1, D)."""
        return self.contents.colour.blocks.kl_index()

    @cached_property
    def cost(self) -> np.ndarray:
        """Average KL of every latent of the tile, in bits: (U,)."""
        return streams.kl_table()[self.kl_index[0, : self.latents]] / 256

    @property
    def latents(self) -> int:
        """U."""
        return len(self.point.mean)

    @cached_property
    def scale(self) -> np.ndarray:
        """Prior scales of the tile's latents: (U,)."""
        return self.point.scale_of(self.kl_index[0, : self.latents], slice(None))

    @cached_property
    def target(self) -> np.ndarray:
        """Coefficients whose field is the picture: (U,)."""
        axes, offset = self.colour_map
        components = (self.pixels / 255 - offset) @ np.linalg.inv(axes)
        one = np.moveaxis(components, 2, 1)[None]  # (1, H, 3, W)
        alone = np.zeros((1, 1, 1), bool)
        return analyse(one, alone, SIDE, NumpyOps()).reshape(-1)

    @property
    def colour_map(self) -> tuple[np.ndarray, np.ndarray]:
        """From colour components to red, green and blue: (3, 3) and (3,)."""
        layer = self.prior.architecture.colour
        shared = self.point.shared_in(np.float64)
        return shared[f"w{layer}"].reshape(3, 3), shared[f"b{layer}"]

    @cached_property
    def groups(self) -> list[np.ndarray]:
        """Latents of every group, in coding order."""
        parts = self.point.partition(self.kl_index)
        return np.split(parts.latents, np.cumsum(parts.dims)[:-1])

    @cached_property
    def stream(self) -> np.ndarray:
        """Bits of the block's stream: uint8 of 0 and 1."""
        return self.contents.colour.streams[-1]

    @cached_property
    def indices(self) -> np.ndarray:
        """Of every group: (G,)."""
        count = np.array([len(self.groups)])
        return streams.read_indices(self.stream, count, self.point.group_bits, self.index_bits)

    @cached_property
    def signs(self) -> np.ndarray:
        """Of the block's latents: (D,)."""
        first = np.zeros(1, np.int64)
        return candidates.signs(self.seed, first, self.kl_index.shape[1])[0]

    def normals(self, g: int) -> np.ndarray:
        """All candidates of a group: (2^L, latents of the group)."""
        count = 1 << self.index_bits
        return candidates.candidates(self.seed, g, count, len(self.groups[g])).T

    def scores(self, g: int) -> np.ndarray:
        """log q - log p of all candidates of a group, in nats: (2^L,)."""
        members = self.groups[g]
        mean = self.posterior.mu[0, members]
        scale = self.posterior.sigma[0, members]
        prior_mean = self.point.mean[members]
        prior_scale = self.scale[members]
        w = prior_mean + prior_scale * self.signs[members] * self.normals(g)
        log_q = -0.5 * ((w - mean) / scale) ** 2 - np.log(scale)
        log_p = -0.5 * ((w - prior_mean) / prior_scale) ** 2 - np.log(prior_scale)
        return (log_q - log_p).sum(1)

    @cached_property
    def sample(self) -> np.ndarray:
        """The latents that the file holds: (U,)."""
        values = self.point.mean.astype(np.float64)
        for g, members in enumerate(self.groups):
            dims = np.array([len(members)])
            eps = candidates.candidates_at(self.seed, np.array([g]), self.indices[g : g + 1], dims)
            mean = self.point.mean[members]
            scale = self.scale[members].astype(np.float64)
            values[members] = latent(mean, scale, self.signs[members], eps)
        return values

    @cached_property
    def network(self) -> Network:
        """The shared layers on this tile."""
        shared = self.point.shared_in(np.float64)
        classes = self.contents.colour.classes[None]
        return Network(self.prior.architecture, shared, classes, NumpyOps(), single=self.point.single)

    @cached_property
    def components(self) -> np.ndarray:
        """The field: (1, 16, 16, 3)."""
        block = np.zeros((1, 1, 1, self.kl_index.shape[1]))
        block[..., : self.latents] = self.sample
        return self.network.field(block)[:, :SIDE, :SIDE]

    @cached_property
    def field(self) -> np.ndarray:
        """What the field shows without the network: (16, 16, 3) uint8."""
        axes, offset = self.colour_map
        return to_pixels(self.components[0] @ axes + offset)

    @cached_property
    def decoded(self) -> np.ndarray:
        """What the file shows: (16, 16, 3) uint8."""
        shown = to_pixels(self.network.layers(self.components)[0])
        if (shown != decoder.decode_array(self.data, self.prior)).any():
            raise SystemExit("the steps of this page lead to other pixels than the decoder's")
        return shown

    def psnr(self, shown: np.ndarray) -> float:
        """dB."""
        return float(-10 * np.log10(self.error(shown)))

    def error(self, shown: np.ndarray) -> float:
        """Mean squared error, values in [0, 1]."""
        return float(((shown / 255 - self.pixels / 255) ** 2).mean())


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Rounded once: uint8."""
    return np.rint(np.clip(255 * values, 0, 255)).astype(np.uint8)
