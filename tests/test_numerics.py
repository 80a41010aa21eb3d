"""Fits that diverge, pictures that no prior expects, files that are not what they should be."""

import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import combiner_codec
from combiner_codec import FormatError, TargetError, decoder
from combiner_codec.encoder import batch as batches
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit import descent as fit
from combiner_codec.encoder.fit.noise import Noise
from combiner_codec.encoder.fit.subject import Subject
from combiner_codec.encoder.settings import Settings, noise_variance
from combiner_codec.format import prior as priors
from conftest import busy_pictures, smooth_pictures
from experiments.reliability import hard


def with_metadata(prior, **changes):
    """The same prior with other advice for the encoder."""
    changed = priors.parse(prior.data, prior.name, priors.CUSTOM)
    return replace(changed, metadata={**changed.metadata, **changes})


def subject_of(prior, pictures, number=1):
    """Pictures with their classes at one operating point."""
    batch = batches.Batch(prior, Settings(0.004, "fast", device="cpu", point=number), list(pictures))
    point = batch.point(number)
    return Subject.of(prior, point, batch.stack, batch.shape, batch.chooser.classes(point, batch.stack))


def fitted(prior, pictures, steps):
    """The pictures, and their posterior after some steps."""
    subject = subject_of(prior, pictures)
    posterior, _ = fit.Descent.of(subject, prior.metadata).run(subject.start(), steps, Noise(0))
    return subject, posterior


def energy(prior, subject, posterior):
    """Free energies without noise, in nats."""
    descent = fit.Descent.of(subject, prior.metadata)
    mean = posterior.mean.detach().requires_grad_()
    error = descent.backward(posterior, mean, 1e-6 * posterior.scale, Noise(0))
    return (error + descent.nats(posterior)).numpy()


def linear(subject):
    """The same with a decoder that is linear and orthonormal, and its curvature."""
    architecture = subject.network.architecture
    last = len(architecture.layers) - 1
    shared = dict(subject.network.shared)
    shared[f"w{architecture.colour}"] = torch.eye(3)[None, None]
    shared[f"w{last}"] = torch.zeros_like(shared[f"w{last}"])
    posterior_scale = torch.full_like(subject.prior.posterior_scale, noise_variance(subject.point.beta) ** 0.5)
    prior = replace(subject.prior, posterior_scale=posterior_scale)
    return replace(subject.with_weights(shared), latents=replace(subject.latents, prior=prior))


def test_a_linear_decoder_leaves_no_noise_in_a_step(each_prior):
    """What a sample adds to the gradient is known then, and taken away: steps find the closed form and stay there."""
    subject = linear(subject_of(each_prior, busy_pictures(1, 64)))
    descent = fit.Descent.of(subject, each_prior.metadata)
    closed = subject.start()
    off = closed.moved(closed.mean + 0.1 * closed.scale, closed.scale)
    near = {"atol": 0.02 * float(closed.scale.max()), "rtol": 0}
    one, another = (descent.run(off, 1, Noise(seed))[0] for seed in (1, 2))
    torch.testing.assert_close(one.mean, another.mean, **near)
    stayed, _ = descent.run(closed, 5, Noise(3))
    torch.testing.assert_close(stayed.mean, closed.mean, **near)


def test_a_fit_that_diverges_starts_again_with_smaller_steps(each_prior, monkeypatch):
    pictures = busy_pictures(2, 64)
    careful = energy(each_prior, *fitted(each_prior, pictures, 15))
    hasty_prior = with_metadata(each_prior, rate=8 * each_prior.metadata["rate"])
    monkeypatch.setattr(fit, "CAUTION", (16, 1 / 8))
    hasty = energy(each_prior, *fitted(hasty_prior, pictures, 15))
    assert np.all(hasty < 1.1 * careful + 10)


def test_only_the_pictures_that_diverged_are_fitted_again(each_prior, monkeypatch):
    pictures = busy_pictures(2, 64)
    _, once = fitted(each_prior, pictures, 5)
    answers = iter([[True, False], [False, False]])
    monkeypatch.setattr(fit.Descent, "diverged", lambda *_: torch.tensor(next(answers)))
    _, twice = fitted(each_prior, pictures, 5)
    half = len(once.mean) // 2
    assert torch.equal(once.mean[half:], twice.mean[half:]) and not torch.equal(once.mean[:half], twice.mean[:half])


@pytest.mark.parametrize("rate", [float("nan"), 1e30])
def test_a_fit_that_always_diverges_is_an_error(each_prior, rate):
    with pytest.raises(TargetError, match="the fit diverged"):
        encode_arrays([busy_pictures(1, 64)[0]], with_metadata(each_prior, rate=rate), Settings(0.004, "fast"))


def test_a_damaged_prior_makes_no_file(each_prior):
    settings = Settings(0.004, "fast")
    whole = with_metadata(each_prior)
    damaged = whole.of_width(settings.index_bits(whole))
    for i in range(2):
        damaged.operating_point(i).shared["w2"][:] = np.nan
    with pytest.raises(TargetError, match="the fit diverged"):
        encode_arrays([smooth_pictures(1)[0]], damaged, settings)


def test_ordinary_fits_do_not_count_as_diverged(each_prior, monkeypatch):
    """Down to four pixels, where one sample says little about the mean."""
    verdicts, diverged = [], fit.Descent.diverged

    def watched(*arguments):
        verdicts.append(diverged(*arguments))
        return verdicts[-1]

    monkeypatch.setattr(fit.Descent, "diverged", watched)
    for side, beta, effort in ((2, 0.5, "fast"), (2, 1e-7, "normal"), (3, 0.004, "fast"), (40, 1e-7, "fast")):
        encode_arrays(list(busy_pictures(3, 64)[:, -side:, -side:]), each_prior, Settings(beta, effort))
    assert len(verdicts) >= 7 and not any(verdict.any() for verdict in verdicts)


def test_what_the_encoder_expects_is_what_the_decoder_shows(each_prior):
    for picture in (busy_pictures(1, 40)[0], smooth_pictures(1, 9)[0][..., 0]):
        checked, trusted = (
            encode_arrays([picture], each_prior, Settings(0.004, "fast", verify=verify))[0] for verify in (True, False)
        )
        assert checked.data == trusted.data
        assert np.abs(checked.pixels.astype(int) - trusted.pixels).max() <= 1
        assert checked.psnr == pytest.approx(trusted.psnr, abs=0.01)


def test_a_file_that_decodes_to_something_else_is_an_error(tiny_prior, monkeypatch):
    """An encoder that writes one wrong bit; without verification nobody notices."""
    finish = batches.Batch.finish

    def wrong(self, i, coded):
        coded.plane.streams[0][3] ^= 1
        return finish(self, i, coded)

    monkeypatch.setattr(batches.Batch, "finish", wrong)
    picture = busy_pictures(1, 32)[0]
    with pytest.raises(FormatError, match="verification failed"):
        encode_arrays([picture], tiny_prior, Settings(0.004, "fast"))
    encode_arrays([picture], tiny_prior, Settings(0.004, "fast", verify=False))


def test_no_verify_does_not_decode(tiny_prior, monkeypatch):
    monkeypatch.setattr(decoder, "decode_contents", lambda *a, **k: pytest.fail("decoded"))
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
        assert row.beta == 1 or row.psnr > 29


def test_hopeless_pictures_and_files_larger_than_a_png_give_warnings(tiny_prior):
    checkerboard = hard.pictures(32)["checkerboard"]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        combiner_codec.encode(checkerboard, 1e-5, effort="fast", prior=tiny_prior)
        combiner_codec.encode(checkerboard, 1e-5, effort="fast", kind="inr")
    text = "\n".join(str(one.message) for one in seen)
    assert "of its PNG" in text and "only 6." in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        combiner_codec.encode(smooth_pictures(1)[0], 0.01, effort="fast")


@pytest.mark.parametrize("beta", [sys.float_info.min, sys.float_info.max])
def test_no_beta_is_too_far_out(beta, tiny_prior):
    (result,) = encode_arrays([smooth_pictures(1)[0]], tiny_prior, Settings(beta, "fast"))
    assert result.psnr > 10
