"""Gradients by hand against autograd's, and threads against none."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.gradients import (
    LappedColumns,
    LappedRows,
    Shortcuts,
    layers,
    modulated_layers,
    placed_biases,
    pull_back,
)
from combiner_codec.encoder.fit.products import SINGLE, Products
from combiner_codec.encoder.settings import Settings
from combiner_codec.encoder.threads import ALONE, side_by_side
from combiner_codec.synthesis.architecture import Architecture, Layer
from combiner_codec.synthesis.borders import Borders
from combiner_codec.synthesis.modulation import count, modulated
from combiner_codec.synthesis.network import Network
from combiner_codec.synthesis.rectangle import Rectangle
from combiner_codec.synthesis.torch_ops import TorchOps
from conftest import busy_pictures

# every kind of layer, of window, of fold and of bias; outputs read twice, next to each other and far apart
LAYERS = (
    Layer("linear", 64, 3, latent=True, bias=False),
    Layer("linear", 3, 3),
    Layer("silu", 12, 5, window=3, fold=2, by_class=True),
    Layer("sine", 5, 5, window=3, fold=2, by_class=True, omega=3.0, residual_of=2),
    Layer("silu", 5, 5, window=1, fold=2, residual_of=2),
    Layer("linear", 5, 12, window=3, fold=2, residual_of=1),
)
ARCHITECTURE = Architecture("cosine", 8, LAYERS, side=2)
SHAPE = (2, 6, 4)  # pictures, rows and columns of tiles
ROWS = range(0, 48), range(8, 40), range(0, 24), range(24, 48)
COLUMNS = range(0, 32), range(16, 21)
PARTS = [Rectangle(rows, columns) for rows, columns in product(ROWS, COLUMNS)]


@pytest.fixture(scope="module")
def network() -> Network:
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return 0.3 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    shared = {}
    for i, layer in enumerate(LAYERS[1:], 1):
        shared[f"w{i}"] = random(layer.window, layer.window, layer.inputs, layer.outputs)
        shared[f"b{i}"] = random(7, layer.outputs) if layer.by_class else random(layer.outputs)
    classes = torch.randint(0, 5, SHAPE, generator=generator)
    classes[0, 2:4, :2] = 6  # a merged tile
    return Network(ARCHITECTURE, shared, classes, TorchOps, single=5)


def random(*shape) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def compare(theirs: torch.Tensor, ours: torch.Tensor, leaves: list[torch.Tensor]) -> None:
    """Equal values, and equal gradients by all leaves."""
    torch.testing.assert_close(ours, theirs)
    weights = random(*ours.shape)
    both = [torch.autograd.grad((y * weights).sum(), leaves, retain_graph=True) for y in (theirs, ours)]
    for expected, found in zip(*both, strict=True):
        torch.testing.assert_close(found, expected)


def field_of(network, part) -> torch.Tensor:
    """A random one, of the part's support."""
    return random(2, *network.support(part).shape, 3).requires_grad_()


@pytest.mark.parametrize("part", PARTS)
def test_layers_as_autograd_has_them(network, part):
    x = field_of(network, part)
    compare(network.layers(x, part), layers(x, network, part), [x])


@pytest.mark.parametrize("part", PARTS)
def test_weights_and_biases_as_autograd_has_them(network, part):
    x = field_of(network, part)
    shared = {name: value.clone().requires_grad_() for name, value in network.shared.items()}
    learned = replace(network, shared=shared)
    compare(learned.layers(x, part), layers(x, learned, part), [x, *shared.values()])


@pytest.mark.parametrize("names", [("w2",), ("b3",), ("b1", "w5"), ("w3", "b4")])
def test_only_weights_that_are_asked_for_have_gradients(network, names):
    x = field_of(network, PARTS[1]).detach()
    leaves = [network.shared[name].clone().requires_grad_() for name in names]
    learned = replace(network, shared=network.shared | dict(zip(names, leaves, strict=True)))
    ours = layers(x, learned, PARTS[1])
    compare(learned.layers(x, PARTS[1]), ours, leaves)
    kept = {i for i, step in ours.grad_fn.run.steps.items() if step.seen is not None}
    assert kept == {int(name[1:]) for name in names if name.startswith("w")}


def low_rank(shared: dict, values: torch.Tensor) -> dict:
    """Weights of layer 3 with an outer product added, biases of layer 2 scaled."""
    into, out = values[:5], values[5:10]
    return shared | {"w3": shared["w3"] + torch.outer(into, out), "b2": shared["b2"] * values[10]}


@pytest.mark.parametrize("change", [low_rank, lambda shared, values: modulated(shared, 2, values)])
def test_any_change_of_the_weights_differentiates_itself(network, change):
    x = field_of(network, PARTS[0])
    values = (0.2 * random(count(network.shared, 2))).requires_grad_()
    changed = replace(network, shared=change(network.shared, values))
    compare(changed.layers(x, PARTS[0]), layers(x, changed, PARTS[0]), [x, values])


@pytest.mark.parametrize("part", PARTS)
def test_modulations_as_autograd_has_them(network, part):
    x = field_of(network, part)
    values = (0.2 * random(1, count(network.shared, 2))).requires_grad_()
    changed = replace(network, shared=modulated(network.shared, 2, values[0]))
    compare(changed.layers(x, part), modulated_layers(x, values, network, part), [x, values])


@pytest.mark.parametrize("part", PARTS)
def test_biases_that_are_kept_change_nothing(network, part):
    x = field_of(network, part)
    values = (0.2 * random(1, count(network.shared, 2))).requires_grad_()
    kept = Shortcuts(biases=placed_biases(network, part))
    compare(layers(x, network, part), layers(x, network, part, kept), [x])
    theirs = modulated_layers(x, values, network, part)
    compare(theirs, modulated_layers(x, values, network, part, kept), [x, values])


def test_some_rows_tell_about_where_modulations_go(network):
    x = field_of(network, PARTS[0])
    values = (0.2 * random(1, count(network.shared, 2))).requires_grad_()
    found = []
    for every in (1, 2):
        shown = modulated_layers(x, values, network, PARTS[0], Shortcuts(every=every))
        found += torch.autograd.grad(shown.square().sum(), values)
    assert torch.cosine_similarity(*found) > 0.95
    assert found[1].norm() == pytest.approx(float(found[0].norm()), rel=0.2)


def test_a_network_that_is_taken_for_fixed_sends_nothing_back(network):
    """What it shows stays; gradients are those of the colour map."""
    part = PARTS[1]
    x = field_of(network, part)
    shown = layers(x, network, part, Shortcuts(through=False))
    torch.testing.assert_close(shown, layers(x, network, part))
    rows, columns = part.within(network.support(part)).slices
    colours = (x @ network.shared["w1"][0, 0])[:, rows, columns]
    weights = random(*shown.shape)
    (found,) = torch.autograd.grad((shown * weights).sum(), x)
    (expected,) = torch.autograd.grad((colours * weights).sum(), x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("size", [1, 3])
def test_products_in_bfloat16_err_by_its_rounding(size):
    x = random(2, 7, 5, 6).float()
    weights = random(size, size, 6, 4).float()
    halved = Products(halved=True)
    shift = random(4).float()
    sums = SINGLE.correlate(x, weights, shift)
    for found, expected in (
        (halved.correlate(x, weights, shift), sums),
        (halved.spread(sums, weights), SINGLE.spread(sums, weights)),
    ):
        assert found.dtype == torch.float32
        assert (found - expected).norm() < 2**-7 * expected.norm()


def test_a_second_way_back_is_as_the_first(network):
    """Training probes curvature on the graph that it has gone back through."""
    x = field_of(network, PARTS[0])
    shown = layers(x, network, PARTS[0])
    first, second = (torch.autograd.grad(shown.square().sum(), x, retain_graph=True)[0] for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("part", PARTS)
def test_the_field_as_autograd_has_it(network, part):
    latents = random(2, 3, 2, ARCHITECTURE.latents).requires_grad_()
    rows, columns = part.slices
    theirs = network.field(latents)[:, rows, columns]
    borders = Borders.of(network.merged, 8)
    reached = borders.reached(part.columns)
    half = LappedRows.apply(latents, network, ALONE)[:, rows, :, reached.start : reached.stop]
    ours = LappedColumns.apply(half, borders, part)
    weights = random(*ours.shape)
    torch.testing.assert_close(ours, theirs)
    (expected,), (found,) = (torch.autograd.grad((y * weights).sum(), latents) for y in (theirs, ours))
    torch.testing.assert_close(found, expected)


def test_pulling_back_is_backward():
    x, gradient = random(3, 4).requires_grad_(), random(3, 4)
    (expected,) = torch.autograd.grad(x.sin(), x, gradient)
    pull_back(x.sin(), gradient)
    assert (x.grad == expected).all()


@pytest.mark.parametrize("count", [1, 3])
def test_work_on_threads_comes_back_in_order(count):
    before = torch.get_num_threads()
    with side_by_side(count) as threads:
        assert threads.count == count
        assert threads.map(lambda a: (2 * a, torch.get_num_threads()), range(20)) == [(2 * i, 1) for i in range(20)]
        assert list(threads.ahead(lambda a: a * a, range(9))) == [a * a for a in range(9)]
        assert list(threads.ahead(lambda a: a, [])) == []
        for gradients in (True, False):
            with torch.set_grad_enabled(gradients):
                assert threads.map(lambda _: torch.is_grad_enabled(), range(3)) == [gradients] * 3
        with pytest.raises(ZeroDivisionError):
            threads.map(lambda a: 1 // a, [1, 0])
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("shape", [(1, 130, 70), (1, 40, 340), (5, 40, 40)])
def test_threads_make_the_same_picture(tiny_photo_prior, shape):
    """In parts of a picture, or pictures in parts; rounding may move an index, but not the picture."""
    pictures = [picture[: shape[1], : shape[2]] for picture in busy_pictures(shape[0], max(shape[1:]))]
    alone, together = (
        encode_arrays(pictures, tiny_photo_prior, Settings(0.01, "fast", threads=count)) for count in (1, 3)
    )
    for one, other in zip(alone, together, strict=True):
        assert abs(one.psnr - other.psnr) < 0.1
        assert len(one.data) == len(other.data)
