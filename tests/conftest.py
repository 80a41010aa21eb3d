"""What all tests share: marks and counts, and small priors, trained for seconds: tests need no shipped ones."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils import backend_registration

from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.synthesis.architecture import Architecture, Layer
from combiner_codec.training import family
from combiner_codec.training.family import Sources
from combiner_codec.training.recipes import METADATA, PHOTO, RECIPES, Recipe
from experiments import pages

torch.set_num_threads(1)
# stands for "cuda" in test_cuda.py; known before the first gradient, or there is no way back from it
ELSEWHERE = "elsewhere"
if REGISTERED := hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
    backend_registration._setup_privateuseone_for_python_backend(ELSEWHERE)

SLOW = {  # files of more than some seconds, or of whole commands, which `make check` leaves out
    "test_absurd", "test_api", "test_bands", "test_bench_small", "test_changes", "test_cli",
    "test_codec", "test_cuda", "test_estimate", "test_exact",
    "test_experiments", "test_faults", "test_graphics", "test_grow", "test_hostile_priors",
    "test_image", "test_inspection", "test_jobs",
    "test_joint", "test_limits", "test_long", "test_modulation", "test_mutants", "test_numerics", "test_outputs",
    "test_planes", "test_preview", "test_previews", "test_ranks", "test_readme", "test_resume", "test_late_signals",
    "test_sizes", "test_small", "test_target", "test_tile", "test_train", "test_web", "test_web_package", "test_webp",
    "test_wheel", "test_width",
}  # fmt: skip
NIGHT = {  # tests of many seconds that have a smaller one beside them: `make torture` runs them
    "test_a_command_goes_on_where_it_was_cut_off[more.npz]",
    "test_a_command_goes_on_where_it_was_cut_off[train-photo]",
    "test_a_goal_looks_at_one_band_after_the_other_and_at_a_sample[goal1]",
    "test_a_gpus_page_can_be_tried_on_the_processor",
    "test_a_psnr_counts_both_planes",
    "test_a_size_counts_both_planes",
    "test_bands_of_columns_share_modulations_and_meet_sizes",
    "test_encoding_takes_no_more_memory_for_a_line_than_for_a_square",
    "test_files_are_as_good_as_those_of_one_band[tiny_photo_prior-3-True]",
    "test_goals_take_an_exact_mask_too[psnr]",
    "test_hard_pictures_end_well[40]",
    "test_large_ones_are_decoded_in_parts[size2]",
    "test_learning_begins_with_a_prior",
    "test_linear_priors_have_no_network_and_encode[single]",
    "test_no_larger_size_buys_a_worse_picture[web]",
    "test_operating_points_that_are_coded_at_once_give_the_files_of_each_alone[normal]",
    "test_own_weights_come_late",
    "test_priors_for_the_web_lose_little_and_download_less",
    "test_search_takes_at_most_about_one_more_encoding",
    "test_steps_are_few_launches_and_the_same_on_both",
    "test_they_pay_where_they_were_learned[normal]",
    "test_thumbnails_leave_cells_empty_that_a_format_cannot_fill",
    "test_torchrun_encodes_a_folder_and_sums_up",
    "test_two_encoders_of_one_folder_do_not_do_the_same",
    "test_two_processes_give_the_result_of_one",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker("slow")
        if item.name in NIGHT:
            item.add_marker("torture")


def pytest_addoption(parser):
    parser.addoption(
        "--counts", type=Path, metavar="PAGE", help="write what tests counted into a page's part `torture`"
    )


def pytest_terminal_summary(terminalreporter, config):
    """What tests have counted, with `record_property`: sums over all of them."""
    counted = Counter()
    for report in terminalreporter.getreports("passed"):
        counted.update(dict(report.user_properties))
    for name, count in sorted(counted.items()):
        terminalreporter.write_line(f"counted: {count:,} {name}")
    if page := config.getoption("counts"):
        rows = [f"| {name} | {count:,} |" for name, count in sorted(counted.items())]
        pages.put(page, "torture", ["| what | how often |", "| --- | ---: |", *rows])


PLAIN = Architecture(
    "cosine",
    32,
    (
        Layer("linear", 1024, 3, latent=True, bias=False),
        Layer("linear", 3, 3),
        Layer("sine", 3, 12, window=5, by_class=True),
        Layer("sine", 12, 8, window=3, by_class=True),
        Layer("linear", 8, 3, residual_of=1),
    ),
)


def smooth_pictures(count, side=32, seed=0):
    """Random smooth colour pictures: uint8 (count, side, side, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    resize = [np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse]
    return np.stack(resize)


def busy_pictures(count, side=128, seed=0):
    """Smooth pictures with noise that grows from left to right: uint8 (count, side, side, 3)."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, side, side, 1)) * np.linspace(0, 50, side)[:, None]
    return (smooth_pictures(count, side, seed) * 0.7 + 38 + noise).clip(0, 255).astype(np.uint8)


def as_file(path, architecture, points):
    """The prior of a file of operating points."""
    priors.save(path, METADATA, architecture, points)
    return priors.load_file(path)


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory):
    """Two operating points: tiles of one size, layers at full resolution."""
    settings = replace(PHOTO, betas=(0.02, 0.004), classes=(5, 5), merged=0, visits=(), crops=64, batch=16, steps=24)
    folder = tmp_path_factory.mktemp("small")
    some = {"smooth": smooth_pictures(16), "smoother": smooth_pictures(32, 256), "busy": busy_pictures(16, 32)}
    paths = [folder / f"{name}.npy" for name in some]  # of the large ones parts
    for path, pictures in zip(paths, some.values(), strict=True):
        np.save(path, pictures)
    points = family.learn(Sources.of(paths), Recipe(PLAIN, settings, 32, 0.0), folder, lambda line: None)
    return as_file(folder / "tiny-small.npz", PLAIN, points)


@pytest.fixture(scope="session")
def tiny_photo_prior(tmp_path_factory):
    """Two operating points: tiles of two sizes, layers at half resolution."""
    settings = replace(PHOTO, betas=(0.01, 0.002), classes=(5, 5), merged=3, visits=(), crops=24, batch=4, steps=12)
    folder, recipe = tmp_path_factory.mktemp("photo"), replace(RECIPES["photo"], settings=settings, side=64)
    paths = [folder / f"{side}.npy" for side in (64, 128)]
    for path in paths:
        np.save(path, busy_pictures(6, int(path.stem)))
    points = family.learn(Sources.of(paths), recipe, folder, lambda line: None)
    return as_file(folder / "tiny-photo.npz", recipe.architecture, points)


@pytest.fixture(params=["tiny_prior", "tiny_photo_prior"])
def each_prior(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def small_file(tiny_prior):
    """A .cmb file of 40 x 40 pixels."""
    return encode_arrays([smooth_pictures(1, 40)[0]], tiny_prior, Settings(0.01, "fast"))[0].data


@pytest.fixture(scope="session")
def tiny_prior_file(tiny_prior, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "tiny.npz"
    path.write_bytes(tiny_prior.data)
    return path
