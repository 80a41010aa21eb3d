import subprocess
import sys

import numpy as np
import pytest
import torch

from combiner_codec import codec, fit, posterior
from combiner_codec import prior as priors
from combiner_codec.errors import FormatError
from combiner_codec.inr import NumpyOps, forward
from conftest import smooth_pictures


def encode(picture, prior, beta=0.01, **options):
    return codec.encode_arrays([picture], beta, prior, effort=options.pop("effort", "fast"), **options)[0]


@pytest.mark.parametrize("shape", [(1, 1), (32, 32), (31, 37), (1, 70), (64, 48)])
def test_any_size_comes_back(shape, tiny_prior):
    picture = smooth_pictures(1, 80)[0][: shape[0], : shape[1]]
    result = encode(picture, tiny_prior)
    decoded = codec.decode_array(result.data, tiny_prior)
    assert decoded.shape == picture.shape and decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, result.pixels)
    assert result.psnr > 18


def test_same_picture_beta_and_seed_give_the_same_file(tiny_prior):
    picture = smooth_pictures(1, 40)[0]
    a, b, other = (encode(picture, tiny_prior, seed=s, effort="normal").data for s in (1, 1, 2))
    assert a == b and a != other


def test_threads_do_not_change_pixels(tiny_prior):
    data = encode(smooth_pictures(1, 200)[0], tiny_prior).data
    one, two = (codec.decode_array(data, tiny_prior, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_batch_and_single_agree_in_size_and_order(tiny_prior):
    pictures = list(smooth_pictures(5))
    together = codec.encode_arrays(pictures, 0.01, tiny_prior, effort="fast")
    for picture, result in zip(pictures, together, strict=True):
        assert len(result.data) == len(encode(picture, tiny_prior).data)
        assert result.psnr == pytest.approx(encode(picture, tiny_prior).psnr, abs=1.0)


def test_flat_pictures_cost_less_than_busy_ones_and_at_most_30_bytes(tiny_prior):
    flat = np.full((32, 32, 3), (200, 30, 90), np.uint8)
    busy = smooth_pictures(1)[0]
    for beta in (0.02, 0.004, 0.0005):
        small, large = (encode(p, tiny_prior, beta) for p in (flat, busy))
        assert len(small.data) < len(large.data)
        assert len(small.data) <= 30 + 4  # 4 bytes name the custom prior
        assert small.psnr > 30


def test_smaller_beta_costs_more_and_looks_better(tiny_prior):
    pictures = list(smooth_pictures(6, seed=9))
    points = [codec.encode_arrays(pictures, beta, tiny_prior, effort="fast") for beta in (0.05, 0.01, 0.002)]
    sizes = [sum(len(r.data) for r in results) for results in points]
    quality = [np.mean([r.psnr for r in results]) for results in points]
    assert sizes == sorted(sizes) and quality == sorted(quality)


@pytest.mark.parametrize("effort", ["fast", "normal"])
def test_refinement_and_candidates_pay(effort, tiny_prior):
    """More effort, less distortion at the same size; A* sampling (temperature 1) costs quality against the least
    distortion.
    """
    pictures = list(smooth_pictures(8, seed=3))

    def quality(**options):
        return np.mean([r.psnr for r in codec.encode_arrays(pictures, 0.004, tiny_prior, **options)])

    if effort == "fast":
        assert quality(effort="fast") < quality(effort="normal") + 0.05
    else:
        assert quality(effort="fast", temperature=1.0) < quality(effort="fast")


def test_torch_and_numpy_compute_the_same_pixels(tiny_prior):
    level = tiny_prior.level(1)
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(3, 3072)) * 0.3
    classes = np.array([0, 2, 4])
    shared = {k: v.astype(np.float64) for k, v in level.shared.items()}
    ours = forward(tiny_prior.architecture, latents, shared, classes, NumpyOps())
    torched = {k: torch.from_numpy(v) for k, v in shared.items()}
    theirs = forward(
        tiny_prior.architecture, torch.from_numpy(latents), torched, torch.from_numpy(classes), posterior.TorchOps
    )
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)


def test_analysis_inverts_the_linear_part(tiny_prior):
    level = tiny_prior.level(0)
    pixels = torch.from_numpy(smooth_pictures(2)).float() / 255
    shared = posterior.shared_weights(level, "cpu")
    latents = posterior.analyse(tiny_prior.architecture, shared, pixels)
    linear = tiny_prior.architecture.__class__("cosine", 32, tiny_prior.architecture.layers[:2])
    again = forward(linear, latents, shared, torch.zeros(2, dtype=torch.int64), posterior.TorchOps)
    torch.testing.assert_close(again, pixels, atol=1e-5, rtol=0)


def test_group_budgets_hold_kl_below_their_bits(tiny_prior):
    """Per-group beta control moves every block's KL to its budget."""
    controlled = priors.parse(tiny_prior.data, "tiny", priors.CUSTOM)
    controlled.metadata["budget_groups"] = 4
    run = fit.Fit(controlled, 0.004, effort="fast", point=1, device="cpu")
    tiles = smooth_pictures(4, seed=5)
    _, classes = run.rank_points(tiles, np.arange(4))
    batch = fit.Batch(run, controlled.level(1), tiles, classes[:, 1], np.zeros(4, int))
    batch.start()
    batch.optimise(400)
    budget = batch.budget
    nats = posterior.kl(batch.mu, torch.where(batch.free, batch.sigma, 1.0), batch.prior)
    spent = torch.zeros_like(budget.allowed).scatter_add(1, budget.block, nats)[:, 1:]
    allowed = budget.allowed[:, 1:]
    assert ((spent <= 1.15 * allowed + 0.7) | (budget.factor[:, 1:] > 15)).float().mean() > 0.9
    assert (budget.factor != 1).any()


def test_truncated_and_padded_files_are_refused(tiny_prior):
    data = encode(smooth_pictures(1, 40)[0], tiny_prior).data
    for bad in [data[:n] for n in range(len(data))] + [data + b"\0"]:
        with pytest.raises(FormatError):
            codec.decode_array(bad, tiny_prior)


def test_a_custom_prior_is_asked_for(tiny_prior):
    data = encode(smooth_pictures(1)[0], tiny_prior).data
    with pytest.raises(FormatError, match=tiny_prior.digest[:4].hex()):
        codec.decode_array(data)


def test_cuda_that_is_absent_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("CUDA is here")
    with pytest.raises(FormatError, match="cuda"):
        fit.resolve_device("cuda")


def test_decoding_works_without_torch(tiny_prior, tiny_prior_file, tmp_path):
    """In a process where importing torch fails."""
    picture = smooth_pictures(1, 40)[0]
    (tmp_path / "a.cmb").write_bytes(encode(picture, tiny_prior).data)
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from combiner_codec.cli import main\n"
        f"sys.argv = ['combiner', 'decode', {str(tmp_path / 'a.cmb')!r}, '--prior', {str(tiny_prior_file)!r},"
        f" '-o', {str(tmp_path / 'a.png')!r}]\n"
        "main()"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "a.png").exists()
