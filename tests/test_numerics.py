"""Fits that diverge, pictures that no prior expects, files that are not what they should be."""

import sys
import warnings

import numpy as np
import pytest

import combiner_codec
from combiner_codec import FormatError, codec, fit
from combiner_codec import prior as priors
from conftest import busy_pictures, smooth_pictures
from reliability import hard


def with_metadata(prior, **changes):
    """The same prior with other advice for the encoder."""
    changed = priors.parse(prior.data, prior.name, priors.CUSTOM)
    changed.metadata.update(changes)
    return changed


def fitted(prior, pictures, point=1):
    run = fit.Fit(prior, 0.004, effort="fast", point=point, device="cpu")
    batch = fit.Batch(run, point, fit.as_pixels(pictures), pictures.shape[1:3])
    batch.start()
    return batch


def energy(batch):
    """Free energies without noise, in nats."""
    batch.sigma, sigma = batch.sigma * 1e-6, batch.sigma
    error = batch.backward(batch.mu.detach().requires_grad_(), batch.sigma)
    batch.sigma = sigma
    return (error + batch.picture_nats()).numpy()


def test_a_fit_that_diverges_starts_again_with_smaller_steps(each_prior, monkeypatch):
    pictures = busy_pictures(2, 64)
    careful = fitted(each_prior, pictures)
    careful.optimise(15)
    hasty = fitted(with_metadata(each_prior, rate=8 * each_prior.metadata["rate"]), pictures)
    monkeypatch.setattr(fit, "CAUTION", (16, 1 / 8))
    hasty.optimise(15)
    assert np.all(energy(hasty) < 1.1 * energy(careful) + 10)


def test_only_the_pictures_that_diverged_are_fitted_again(each_prior, monkeypatch):
    once, twice = (fitted(each_prior, busy_pictures(2, 64)) for _ in range(2))
    once.optimise(5)
    answers = iter([[True, False], [False, False]])
    monkeypatch.setattr(fit.Batch, "diverged", lambda *_: fit.torch.tensor(next(answers)))
    twice.optimise(5)
    half = len(once.mu) // 2
    assert fit.torch.equal(once.mu[half:], twice.mu[half:]) and not fit.torch.equal(once.mu[:half], twice.mu[:half])


@pytest.mark.parametrize("rate", [float("nan"), 1e30])
def test_a_fit_that_always_diverges_is_an_error(each_prior, rate):
    with pytest.raises(FormatError, match="the fit diverged"):
        codec.encode_arrays([busy_pictures(1, 64)[0]], 0.004, with_metadata(each_prior, rate=rate), effort="fast")


def test_a_damaged_prior_makes_no_file(each_prior):
    each_prior = with_metadata(each_prior)
    for i in range(2):
        each_prior.level(i).shared["w2"][:] = np.nan
    with pytest.raises(FormatError, match="the fit diverged"):
        codec.encode_arrays([smooth_pictures(1)[0]], 0.004, each_prior, effort="fast")


def test_ordinary_fits_do_not_count_as_diverged(each_prior, monkeypatch):
    """Down to one pixel, where one sample says little about the mean."""
    verdicts, diverged = [], fit.Batch.diverged
    monkeypatch.setattr(fit.Batch, "diverged", lambda *a: verdicts.append(diverged(*a)) or verdicts[-1])
    for side, beta, effort in ((1, 0.5, "fast"), (1, 1e-7, "normal"), (3, 0.004, "fast"), (40, 1e-7, "fast")):
        codec.encode_arrays(list(busy_pictures(3, 64)[:, -side:, -side:]), beta, each_prior, effort=effort)
    assert len(verdicts) >= 7 and not any(verdict.any() for verdict in verdicts)


def test_what_the_encoder_expects_is_what_the_decoder_shows(each_prior):
    for picture in (busy_pictures(1, 40)[0], smooth_pictures(1, 9)[0][..., 0]):
        checked, trusted = (
            codec.encode_arrays([picture], 0.004, each_prior, effort="fast", verify=verify)[0]
            for verify in (True, False)
        )
        assert checked.data == trusted.data
        assert np.abs(checked.pixels.astype(int) - trusted.pixels).max() <= 1
        assert checked.psnr == pytest.approx(trusted.psnr, abs=0.01)


def test_a_file_that_decodes_to_something_else_is_an_error(tiny_prior, monkeypatch):
    """An encoder that writes one wrong bit; without verification nobody notices."""
    assemble = codec.assemble

    def wrong(prior, shape, seed, coded):
        coded.streams[0][3] ^= 1
        return assemble(prior, shape, seed, coded)

    monkeypatch.setattr(codec, "assemble", wrong)
    picture = smooth_pictures(1)[0]
    with pytest.raises(FormatError, match="verification failed"):
        codec.encode_arrays([picture], 0.004, tiny_prior, effort="fast")
    codec.encode_arrays([picture], 0.004, tiny_prior, effort="fast", verify=False)


def test_no_verify_does_not_decode(tiny_prior, monkeypatch):
    monkeypatch.setattr(codec, "decode_array", lambda *a, **k: pytest.fail("decoded"))
    picture = smooth_pictures(1)[0]
    assert combiner_codec.encode(picture, 0.01, prior=tiny_prior, effort="fast", verify=False)
    with pytest.raises(pytest.fail.Exception):
        combiner_codec.encode(picture, 0.01, prior=tiny_prior, effort="fast")


@pytest.mark.parametrize("side", [1, 32, 40])
def test_hard_pictures_end_well(side):
    rows = hard.measure(side, betas=(1.0, 1e-7))
    assert len(rows) == 2 * len(hard.pictures(side))
    for row in rows:
        assert row.bytes <= row.bound and row.psnr >= row.flat - 1
        assert row.warned or row.bytes <= row.png
        assert row.beta == 1 or row.psnr > 30


def test_hopeless_pictures_and_files_larger_than_a_png_give_warnings(tiny_prior):
    checkerboard = hard.pictures(32)["checkerboard"]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        combiner_codec.encode(checkerboard, 1e-5, effort="fast", prior=tiny_prior)
        combiner_codec.encode(checkerboard, 1e-5, effort="fast")
    text = "\n".join(str(one.message) for one in seen)
    assert "of its PNG" in text and "only 6." in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        combiner_codec.encode(smooth_pictures(1)[0], 0.01, effort="fast")


@pytest.mark.parametrize("beta", [sys.float_info.min, sys.float_info.max])
def test_no_beta_is_too_far_out(beta, tiny_prior):
    (result,) = codec.encode_arrays([smooth_pictures(1)[0]], beta, tiny_prior, effort="fast")
    assert result.psnr > 10
