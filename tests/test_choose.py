"""What is decided before a fit: tilings, costs of classes, operating points, files within limits."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from combiner_codec.encoder.batch import Batch
from combiner_codec.encoder.choose.choices import SIZE_ALONE
from combiner_codec.encoder.choose.class_costs import costs_by_size, untrained_classes
from combiner_codec.encoder.choose.search import constrained
from combiner_codec.encoder.choose.solve import GRID, LOG_BETAS, Limit, first_log_beta, guess, solve
from combiner_codec.encoder.choose.target import choices_of, job
from combiner_codec.encoder.choose.tiling import choose_tiling
from combiner_codec.encoder.fit.posterior import out_of_reach
from combiner_codec.encoder.settings import Settings, ignore
from combiner_codec.encoder.threads import ALONE
from combiner_codec.root import next_guess
from combiner_codec.synthesis.squares import as_squares, begins, cells, everywhere, square_sums
from conftest import busy_pictures

SHAPES = [(1, 1), (2, 2), (3, 4), (5, 5), (4, 7)]


def random_tiling(rows, columns, count=3):
    """Some of the squares that can merge: (count, rows, columns) bool."""
    chosen = np.random.default_rng(rows).integers(2, size=(count, -(-rows // 2), -(-columns // 2))).astype(bool)
    shape = count, rows, columns
    return as_squares(chosen, shape) & everywhere(shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_tile_is_named_once(shape):
    """By itself, or as one of the four cells of a merged tile, whose first one names it."""
    merged = random_tiling(*shape)
    named = np.zeros(merged.shape, int)
    np.add.at(named, cells(merged), 1)
    named[~merged] += 1
    assert (named == 1).all()
    picture, row, column = cells(merged)
    assert begins(merged)[picture[:, 0], row[:, 0], column[:, 0]].all()
    assert np.count_nonzero(begins(merged)) == np.count_nonzero(~merged) + len(picture)


@pytest.mark.parametrize("shape", SHAPES)
def test_squares_add_up(shape):
    values = np.random.default_rng(0).random((2, *shape))
    sums = square_sums(values)
    assert sums.shape == (2, -(-shape[0] // 2), -(-shape[1] // 2))
    np.testing.assert_allclose(sums[:, 0, 0], values[:, :2, :2].sum((1, 2)))
    np.testing.assert_allclose(sums.sum((1, 2)), values.sum((1, 2)))


def with_borders(tilings, gain, border):
    """Costs of tiles: 1 each, less a gain where merged, and what a border costs between squares of unlike tiles."""
    found = []
    for merged in tilings:
        whole = merged[:, ::2, ::2]
        costs = np.where(merged, 1 - gain, 1.0)
        costs[:, ::2, :-2:2] += border * (whole[:, :, 1:] != whole[:, :, :-1])
        found.append(costs)
    return found


def test_squares_that_do_not_disturb_each_other_merge_where_that_is_cheaper():
    gain = np.random.default_rng(0).normal(size=(2, 5, 7))
    chosen = choose_tiling(partial(with_borders, gain=gain, border=0.0), everywhere(gain.shape))
    cheaper = as_squares(square_sums(gain) > 0, gain.shape)
    assert (chosen == (cheaper & everywhere(gain.shape))).all()


def test_a_tiling_looks_at_its_neighbours():
    """A square that would be merged among its like is not where the border costs more than that gains."""
    gain = np.zeros((1, 2, 4))
    gain[:, :, :2] = 0.2
    gain[:, :, 2:] = -0.2
    assert choose_tiling(partial(with_borders, gain=gain, border=0.7), everywhere(gain.shape))[0, 0].sum() == 2
    assert not choose_tiling(partial(with_borders, gain=gain, border=0.9), everywhere(gain.shape)).any()


@pytest.mark.parametrize("merged", [False, True])
def test_the_least_cost_is_that_of_the_best_class(tiny_photo_prior, merged):
    """Also of tiles with latents that no candidate reaches."""
    point = tiny_photo_prior.operating_point(0)
    costs = costs_by_size(point, tiny_photo_prior.architecture.side)[merged]
    latents = costs.scale.shape[1]
    deviation = torch.randn(40, latents, generator=torch.Generator().manual_seed(0)) * costs.scale.max(0).values
    deviation[20:, ::50] *= 20
    rates = np.linspace(0, 1, len(costs.scale), dtype=np.float32)
    every = costs.errors(deviation, ALONE) + rates
    np.testing.assert_allclose(costs.least(deviation, rates, ALONE), every.min(1), rtol=1e-5)
    assert len(np.unique(every.argmin(1))) > 1
    assert costs.least(deviation[:0], rates, ALONE).shape == (0,)


def test_reach_counts_for_latents_that_are_coded():
    size = torch.tensor([1.0, 10.0, 10.0])
    scale = torch.tensor([1.0, 2.0, 0.5])
    beyond = out_of_reach(size, scale, torch.tensor([1.0, 0.5, 0.6]))
    torch.testing.assert_close(beyond, torch.tensor([0.0, (3 / 0.5) ** 2, 0.0]))


def test_operating_points_are_ranked_without_a_look_at_all(tiny_photo_prior):
    """Downhill from the point of this beta: neighbours of the best one are looked at, and of every picture its own."""
    chooser = Batch(tiny_photo_prior, Settings(0.01, "best"), list(busy_pictures(2, 64))).chooser
    asked = []

    def cost(number, members):
        asked.append((number, members.tolist()))
        return np.abs(number - np.array([1, 0]))[members]

    ranking = chooser.rank(2, cost)
    assert ranking.tolist() == [[1, 0], [0, 1]]
    assert sorted(asked) == [(0, [0, 1]), (1, [0, 1])]


@pytest.mark.parametrize("place", [0, 1, 12345, GRID - 2, GRID - 1])
def test_bisection_finds_the_first_beta_of_its_grid(place):
    first, last = LOG_BETAS
    betas = first + (last - first) / (GRID - 1) * np.arange(GRID)
    assert first_log_beta(lambda x: x >= betas[place]) == betas[place]
    assert first_log_beta(lambda x: False) == betas[-1]


@pytest.fixture(scope="module")
def batch(tiny_photo_prior):
    return Batch(tiny_photo_prior, Settings(effort="fast", threads=1), [busy_pictures(1, 128)[0]])


@pytest.fixture(scope="module")
def choices(batch):
    return choices_of(batch)[0]


def test_the_size_of_a_choice_is_that_of_its_file(batch, choices):
    for beta in (0.02, 0.002):
        choice = choices.at(1, beta)
        (result,) = batch.encode([job(0, choice)], ignore)
        assert len(result.data) == choice.size


@pytest.mark.parametrize("kind", ["size", "error"])
def test_choices_use_a_limit_and_keep_to_it(choices, kind):
    ends = [choices.at(0, beta) for beta in (0.03, 0.003)]
    low, high = sorted(Limit(kind, 0).of(choice) for choice in ends)
    for value in np.linspace(low, high, 5)[1:-1]:
        limit = Limit(kind, value)
        choice = solve(choices, 0, limit, guess(choices, 0, limit).log_beta)
        assert 0.8 * value < limit.of(choice) <= value  # eight classes: coarse steps


def test_a_limit_that_nothing_meets_has_no_choice(choices):
    limit = Limit("size", choices.smallest.size - 1)
    assert solve(choices, 0, limit, guess(choices, 0, limit).log_beta) is None
    assert list(constrained(choices, limit)) == []


def test_every_size_from_the_smallest_file_on_has_a_choice(tiny_photo_prior):
    """Also where many betas beside the guessed one have one file, which is a byte too large."""
    batch = Batch(tiny_photo_prior, Settings(effort="fast"), [busy_pictures(1, 32)[0]])
    (choices,) = choices_of(batch)
    for number in choices.points:
        least = choices.at(number, SIZE_ALONE).size
        for size in range(least, choices.at(number, 1e-6).size, 7):
            choice = solve(choices, number, Limit("size", size), -9.0)
            assert choice is not None and choice.size <= size


def test_few_tiles_are_changed_one_by_one(tiny_photo_prior):
    """A file of 16 tiles comes nearer to a size by that than by beta alone, and never exceeds it."""
    batch = Batch(tiny_photo_prior, Settings(effort="fast"), [busy_pictures(1, 64)[0]])
    (choices,) = choices_of(batch)
    assert choices.tile_count == 16
    left, alone = [], []
    for size in range(choices.smallest.size + 10, choices.smallest.size + 60, 7):
        limit = Limit("size", size)
        found = next(constrained(choices, limit))
        assert found.size <= size
        left.append(size - found.size)
        alone.append(size - solve(choices, found.point, limit, guess(choices, found.point, limit).log_beta).size)
    assert np.mean(left) < np.mean(alone)


def test_the_smallest_and_the_richest_file_are_ends(choices):
    for number in choices.points:
        for beta in (0.1, 0.001):
            choice = choices.at(number, beta)
            assert choices.smallest.size <= choice.size
            assert choices.richest.error <= choice.error


def test_a_guess_goes_along_the_slope_then_between():
    assert next_guess([(1.0, 2.0)], -4.0) == pytest.approx(1.5)
    assert next_guess([(0.0, -1.0), (4.0, 1.0)], 7.0) == pytest.approx(2.0)
    assert next_guess([(0.0, -1e-9), (4.0, 1.0)], 7.0) == pytest.approx(0.4)  # not too near an end
    assert next_guess([(0.0, 2.0), (1.0, 1.0)], -1.0, 3.0) == pytest.approx(2.0)
    assert next_guess([(0.0, 2.0), (1.0, 1.9)], -1.0, 2.0) == pytest.approx(1.0 + 1.9 / 0.5)  # at most twice flatter


@pytest.mark.parametrize("function", [np.sinh, lambda x: x**3 + x, np.tanh])
def test_guesses_find_a_root(function):
    known = [(3.0, float(function(3.0)) - 0.5)]
    for _ in range(15):
        x = next_guess(known, 1.0)
        known.append((x, float(function(x)) - 0.5))
    assert min(abs(y) for _, y in known) < 0.01


AVERAGE_TWICE = (1, 2, 7, 7, -60, 9)  # the last class is of merged tiles
UNTRAINED = (7, 7, 7, 7, 7, 9)
SILENT = (-60, -60, -60, -60, -60, -60)


@pytest.mark.parametrize(("biases", "found"), [(AVERAGE_TWICE, [2, 3]), (UNTRAINED, []), (SILENT, [])])
def test_classes_that_no_network_was_trained_with_share_the_average_biases(tiny_prior, biases, found):
    point = tiny_prior.operating_point(0)
    columns = point.kl_index.shape[1]
    single = np.zeros((5, columns), np.uint8)
    merged = np.zeros((1, 4, columns), np.uint8)
    table = np.repeat(np.array(biases, np.float32)[:, None], 4, 1)
    of_six = replace(point, kl_index=single, merged=merged, shared={"b2": table})
    assert np.flatnonzero(untrained_classes(of_six)).tolist() == found
