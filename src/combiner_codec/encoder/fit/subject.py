"""What is fitted: pictures of one size at one operating point, with their classes. Needs torch.

Everything is batched. Shapes: P pictures of H x W pixels (whole tiles), Rt x Ct tiles, B blocks with D latents each.
Grey pictures have one channel: their target in all three of the network's channels, of which the decoder shows the
mean.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from ...format.plane import BlockSection
from ...format.prior import OperatingPoint, Prior
from ...picture.rounding import to_uint8
from ...synthesis.architecture import blocks_of, counts
from ...synthesis.bands import Band, whole
from ...synthesis.borders import Borders
from ...synthesis.fields import blocks_from, tiles_of
from ...synthesis.network import Network
from ...synthesis.pyramid import Pyramid
from ...synthesis.rectangle import Rectangle
from ...synthesis.torch_ops import TorchOps
from ..looks import ComponentWeights, latent_weights
from ..threads import ALONE, Threads
from .analysis import ColourMap, decompose
from .gradients import LappedColumns, LappedRows, Shortcuts, layers, modulated_layers, placed_biases
from .lapping import Lapping
from .latents import Latents
from .posterior import Gaussians, Posterior, as_tensor, closed_form, distortion, reachable, shared_weights
from .products import quickest
from .structure import STRUCTURE, structural_error

MOST_PIXELS = 2**18  # of pictures fitted together; also the most that the layers compute at once
FEWEST_PIXELS = 2**14  # the least that the layers compute at once, where threads share the work
SMALL = 2**20  # pixels of pictures for which a fit on a processor keeps what its steps have in common: 190 bytes each
THINNED = 2  # modulations get the gradients of one in so many rows of positions
MOST_ON_A_GPU = 2**22  # pixels that the layers compute at once there: some GB


@dataclass(frozen=True)
class Subject:
    """Pictures on the device where they are fitted, or one band of them, and the prior that their classes make."""

    point: OperatingPoint
    shape: tuple[int, ...]  # of each picture: its first rows and columns, and 3 where it has colour
    target: torch.Tensor  # (P, H, W, 1 or 3) in [0, 1]
    network: Network
    latents: Latents
    band: Band
    threads: Threads
    pixel_weights: torch.Tensor | None = None  # of squared error, (P, H, W); None where all are 1
    contrast: torch.Tensor | None = None  # what `structural_error` takes, (P, S, L), where that counts too

    @staticmethod
    def of(
        prior: Prior,
        point: OperatingPoint,
        target: torch.Tensor,
        shape: tuple[int, ...],
        classes: np.ndarray,
        band: Band | None = None,
        threads: Threads = ALONE,
    ) -> "Subject":
        """Pictures (P, H, W, 1 or 3) with classes (P, Rt, Ct); whole ones, if of no band."""
        architecture = prior.architecture
        device = target.device
        band = band or whole(architecture, *shape[:2])
        network = Network(
            architecture,
            shared_weights(point, device),
            as_tensor(classes, device),
            TorchOps,
            grey=target.shape[-1] == 1,
            single=point.single,
            completes=point.completes(*shape[:2], architecture.block, classes),
        )
        section = BlockSection(point, architecture, blocks_of(classes, architecture))
        pictures = len(target)
        coded = np.zeros(band.around.shape, bool)
        coded[band.coded.slices] = True
        numbers = np.tile(band.numbers.reshape(-1), pictures)
        in_file = np.tile(coded.reshape(-1), pictures)
        latents = Latents.of(section, device, numbers, in_file)
        return Subject(point, shape, target, network, latents, band, threads)

    def with_tile_weights(self, weights: np.ndarray, components: ComponentWeights | None) -> "Subject":
        """The same with squared error as people see it: weights of tiles (P, Rt, Ct) and of colour components.

        Posterior scales, by which the coder weighs errors, follow from both, the pull of pixels from the tiles' alone.
        """
        architecture = self.network.architecture
        tile = architecture.tile
        of_tiles = as_tensor(weights, self.device)
        weighted = replace(self, pixel_weights=of_tiles.repeat_interleave(tile, 1).repeat_interleave(tile, 2))
        if components is None:
            return weighted
        of_latents = as_tensor(latent_weights(tile, components), self.device).float()
        of_both = self.pyramid.weights(of_tiles[..., None] * of_latents)
        of_blocks = blocks_from(architecture, of_both, TorchOps)
        seen = of_blocks.reshape(len(self.latents.kl_index), -1)
        seen = torch.where(seen > 0, seen, 1.0)  # 0 beyond the picture
        prior = replace(self.prior, posterior_scale=self.prior.posterior_scale / seen.sqrt())
        return replace(weighted, latents=replace(self.latents, prior=prior))

    def with_structure(self, contrast: torch.Tensor) -> "Subject":
        """The same with structural error for a part of the squared error; contrast: (P, S, L)."""
        return replace(self, contrast=contrast)

    def with_weights(self, shared: dict) -> "Subject":
        """The same with other weights of the shared layers."""
        return replace(self, network=replace(self.network, shared=shared))

    @property
    def linear_noise(self) -> bool:
        """Whether the prior's curvatures tell what noise adds to gradients, but for the network."""
        return self.contrast is None

    @property
    def device(self) -> torch.device:
        return self.target.device

    @property
    def prior(self) -> Gaussians:
        """Of the latents: (B, D)."""
        return self.latents.prior

    @property
    def grid(self) -> tuple[int, int, int]:
        """Pictures, and rows and columns of blocks in each."""
        height, width = self.target.shape[1:3]
        return len(self.target), *counts(width, height, self.network.architecture.block)

    @cached_property
    def inside(self) -> torch.Tensor:
        """1 at the pixels of the pictures, 0 beyond: (H, W)."""
        inside = torch.zeros(self.target.shape[1:3], device=self.device)
        inside[: self.shape[0], : self.shape[1]] = 1
        return inside

    def by_picture(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over each picture's blocks: (B,) -> (P,)."""
        return values.reshape(len(self.target), -1).sum(1)

    def places(self, blocks: Rectangle) -> np.ndarray:
        """Where those of some blocks of the picture are among (B, D) latents: (b,)."""
        every = np.arange(np.prod(self.grid)).reshape(self.grid)
        rows, columns = blocks.within(self.band.around).slices
        return every[:, rows, columns].reshape(-1)

    def field(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, D) -> (P, H, W, C)."""
        latents = latents.reshape(*self.grid, -1)
        if self.lapping:
            rows, columns = self.lapping.tiles
            tiles = tiles_of(self.network.architecture, latents)
            return self.lapping.field(self.pyramid.spread(tiles[:, :rows, :columns]))
        return self.network.field(latents)

    def half(self, latents: torch.Tensor) -> torch.Tensor:
        """What of the field is computed for all rows: (B, D) -> (P, H, 3, W), or the whole of it where there are no
        cosines, and on a GPU.
        """
        if not self.borders:
            return self.field(latents)
        return LappedRows.apply(latents.reshape(*self.grid, -1), self.network, self.threads)

    @property
    def small(self) -> bool:
        """Whether there is memory for what steps have in common."""
        return self.target[..., 0].numel() <= SMALL

    @cached_property
    def known_biases(self) -> dict:
        """By the first of some pictures and a part of them: see `_biases`."""
        return {}

    @cached_property
    def lapping(self) -> Lapping | None:
        """Cosines as a GPU has them."""
        architecture = self.network.architecture
        if self.device.type == "cpu" or not architecture.field.linear:
            return None
        return Lapping.of(architecture.tile, self.network.merged, self.device)

    @cached_property
    def pyramid(self) -> Pyramid:
        """Of lowest frequencies, beside `lapping`."""
        network = self.network
        return Pyramid.of(network.merged, network.architecture.pyramid, self.target, TorchOps)

    @cached_property
    def borders(self) -> Borders | None:
        """Between columns of tiles of cosines, where parts of a picture are computed one after another."""
        architecture = self.network.architecture
        if self.lapping or not architecture.field.linear:
            return None
        return Borders.of(self.network.merged, architecture.tile)

    def parts(self) -> list[tuple[slice, Rectangle]]:
        """What the layers do at once: some of the pictures, or a part of one, enough for every thread."""
        pictures, height, width, _ = self.target.shape
        pixels = self._at_once(pictures * height * width)
        if pictures == 1:
            return [(slice(1), part) for part in self.network.parts(pixels)]
        some = max(1, pixels // (height * width))
        return [(slice(i, i + some), self.network.whole) for i in range(0, pictures, some)]

    def _at_once(self, pixels: int) -> int:
        """How many of so many pixels the layers do at once: enough for every thread."""
        share = -(-pixels // self.threads.count)
        most = MOST_PIXELS if self.device.type == "cpu" else MOST_ON_A_GPU
        return min(most, max(FEWEST_PIXELS, share))

    def seen(self, part: tuple[slice, Rectangle]) -> tuple[slice, ...]:
        """Where half a field has what a part of the pictures needs."""
        pictures, area = part
        support = self.network.support(area)
        rows, columns = support.slices
        if not self.borders:
            return pictures, rows, columns
        reached = self.borders.reached(support.columns)
        return pictures, rows, slice(None), slice(reached.start, reached.stop)

    def pull(
        self,
        half: torch.Tensor,
        modulations: torch.Tensor | None,
        part: tuple[slice, Rectangle],
        through: bool = True,
    ):
        """How a part of the pictures pulls: distortion / point.beta in nats, (p,), and its gradients for what it has
        `seen` of half a field, and for modulations (1, M) where there are any. through: see `Shortcuts`.
        """
        pictures, area = part
        network = self.network.of(pictures)
        x = half_leaf = half[self.seen(part)].detach().requires_grad_()
        leaves = [half_leaf]
        modulation_leaf = None
        if modulations is not None:
            modulation_leaf = modulations.detach().requires_grad_()
            leaves.append(modulation_leaf)
        if self.borders:
            x = LappedColumns.apply(x, self.borders.of_pictures(pictures), network.support(area))
        shortcuts = self._shortcuts(part, through)
        if modulation_leaf is None:
            shown = layers(x, network, area, shortcuts)
        else:
            shown = modulated_layers(x, modulation_leaf, network, area, shortcuts)
        if network.grey:
            shown = shown.mean(-1, keepdim=True)
        nats = self.error(shown, pictures, area) / self.point.beta
        return nats.detach(), torch.autograd.grad(nats.sum(), leaves)

    def _shortcuts(self, part: tuple[slice, Rectangle], through: bool) -> Shortcuts:
        """By which a fit on a processor goes through the layers."""
        if self.device.type != "cpu":
            return Shortcuts()
        return Shortcuts(quickest(), self._biases(part), THINNED, through)

    def _biases(self, part: tuple[slice, Rectangle]) -> dict[int, torch.Tensor] | None:
        """Biases of all layers at the positions that a part of the pictures needs, where there is memory for them."""
        if not self.small:
            return None
        chosen, area = part
        key = chosen.start, area
        if key not in self.known_biases:
            self.known_biases[key] = placed_biases(self.network.of(chosen), area)
        return self.known_biases[key]

    def together(self, half: torch.Tensor, modulations: torch.Tensor | None, pulls: Iterable):
        """The same of all pictures, from parts and their pulls: (P,), and gradients for half a field and for
        modulations.
        """
        total = torch.zeros(len(half), device=half.device)
        half_gradient = torch.zeros_like(half)
        modulation_gradient = None if modulations is None else torch.zeros_like(modulations)
        for part, (nats, gradients) in pulls:
            pictures, _ = part
            total[pictures] += nats
            half_gradient[self.seen(part)] += gradients[0]
            if modulation_gradient is not None:
                modulation_gradient += gradients[1]
        return total, (half_gradient, modulation_gradient)

    def error(self, shown: torch.Tensor, pictures: slice, area: Rectangle) -> torch.Tensor:
        """Distortion of an area of some pictures that shows (p, h, w, 1 or 3), summed over pixels: (p,)."""
        rows, columns = area.slices
        target = self.target[pictures, rows, columns]
        inside = self.inside[rows, columns]
        of_pixels = distortion(shown, target) * inside
        if self.pixel_weights is not None:
            of_pixels = of_pixels * self.pixel_weights[pictures, rows, columns]
        squared = of_pixels.sum((1, 2))
        if self.contrast is None:
            return squared
        shown_inside = target + inside[..., None] * (shown - target)
        structural = structural_error(shown_inside, target, self.contrast[pictures])
        return torch.lerp(squared, structural, STRUCTURE)

    @torch.no_grad()
    def pixels(self, latents: torch.Tensor) -> np.ndarray:
        """What the band shows of pictures of (B, D) latents: (P, h, w) or (P, h, w, 3) uint8."""
        in_file = torch.where(self.prior.coded, latents, self.prior.mean)
        field = self.field(self._completed(in_file))
        visible = self.band.visible
        shown = np.empty((len(field), *visible.shape, self.target.shape[3]), np.uint8)

        def field_of(support):
            rows, columns = support.slices
            return field[:, rows, columns]

        def show(part):
            rows, columns = part.within(visible).slices
            shown[:, rows, columns] = to_uint8(self.network.show(field_of, part).cpu().numpy())

        self.threads.map(show, self.network.parts(self._at_once(shown[..., 0].size), visible))
        return shown[..., 0] if shown.shape[-1] == 1 else shown

    def _completed(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents as they are shown: (B, D), the same."""
        return self.network.complete(latents.reshape(*self.grid, -1)).reshape(latents.shape)

    def start(self, before: torch.Tensor | None = None) -> Posterior:
        """Closed form of the linear part where there is one, else the prior's mean and scale. Latents without bits are
        completed, so that a fit knows about what the others show.

        before: latents that blocks of bands before have in the file, (b, D).
        """
        architecture = self.network.architecture
        prior = self.prior
        count = len(self.latents.kl_index)
        if architecture.field.linear:
            blocks = blocks_from(architecture, self._pulled(), TorchOps).reshape(count, -1)
            mean, scale = closed_form(blocks, prior)
            mean = self._completed(reachable(mean, prior))
        else:
            mean = prior.mean.expand(count, -1).clone()
            scale = torch.where(prior.coded, prior.posterior_scale, 0.0)
        posterior = Posterior(mean, scale, prior.coded.clone())
        if before is None:
            return posterior
        places = as_tensor(self.places(self.band.before), self.device)
        return posterior.fixed([(places,)], [before])

    def _pulled(self) -> torch.Tensor:
        """Latents whose linear part reproduces the pixels: (P, Rt, Ct, U)."""
        architecture = self.network.architecture
        shared = self.network.shared
        if self.lapping:
            tiles = self.lapping.latents(ColourMap.of(architecture, shared).components(self.target))
            return self.pyramid.gathered(tiles)
        return decompose(architecture, shared, self.target, self.network.merged)
