"""Structural error: what `--tune iq` fits beside squared error."""

import dataclasses

import numpy as np
import pytest
import torch

from combiner_codec.encoder import batch as batches
from combiner_codec.encoder.batch import Batch
from combiner_codec.encoder.fit import structure
from combiner_codec.encoder.fit.structure import log_contrast, structural_error
from combiner_codec.encoder.fit.subject import Subject
from combiner_codec.encoder.settings import Settings
from combiner_codec.synthesis.rectangle import Rectangle
from conftest import smooth_pictures

SIDE = 64


def pictures(count=1, channels=3, side=SIDE, seed=0):
    """Noise of which half is broad: (P, side, side, channels)."""
    rng = torch.Generator().manual_seed(seed)
    fine = torch.rand(count, side, side, channels, generator=rng)
    coarse = torch.rand(count, side // 16 or 1, side // 16 or 1, channels, generator=rng)
    broad = coarse.repeat_interleave(-(-side // coarse.shape[1]), 1).repeat_interleave(-(-side // coarse.shape[2]), 2)
    return 0.5 * fine + 0.5 * broad[:, :side, :side]


def contrast_of(target):
    logs, counts = log_contrast(target)
    return torch.exp(logs / counts[:, None])


def error(shown, target):
    return structural_error(shown, target, contrast_of(target))


@pytest.mark.parametrize("channels", [1, 3])
def test_equal_pictures_have_none_and_it_grows_as_a_squared_error(channels):
    target = pictures(2, channels)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    assert (error(target, target) == 0).all()
    little = error(target + 0.01 * noise, target)
    double = error(target + 0.02 * noise, target)
    assert torch.allclose(double, 4 * little, rtol=0.05)


def test_it_has_about_the_size_of_a_squared_error():
    target = pictures()
    noise = 0.03 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    squared = (noise**2).mean(-1).sum()
    assert 0.2 < float(error(target + noise, target)) / float(squared) < 5


def test_an_error_in_a_plain_part_and_a_lost_contrast_count_more():
    target = pictures()
    target[:, :, : SIDE // 2] = 0.5
    noise = 0.02 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    left, right = noise.clone(), noise.clone()
    left[:, :, SIDE // 2 :] = 0
    right[:, :, : SIDE // 2] = 0
    assert error(target + left, target) > 3 * error(target + right, target)
    busy = pictures()
    detail = busy - busy.mean((1, 2), keepdim=True)
    assert error(busy - 0.5 * detail, busy) > 1.2 * error(busy + 0.5 * detail, busy)


def test_smooth_errors_and_lightness_count_more():
    target = pictures()
    rng = torch.Generator().manual_seed(1)
    fine = 0.02 * torch.randn(1, SIDE, SIDE, 1, generator=rng)
    broad = torch.nn.functional.avg_pool2d(fine[..., 0], 8).repeat_interleave(8, 1).repeat_interleave(8, 2)[..., None]
    broad *= fine.std() / broad.std()
    assert error(target + broad, target) > 1.5 * error(target + fine, target)
    colour = fine * torch.tensor([1.0, -0.5, -0.05])  # hardly any lightness
    colour *= fine.std() / colour.std()
    assert error(target + fine, target) > 2 * error(target + colour, target)


def test_parts_of_a_picture_add_up_to_about_the_whole():
    target = pictures(side=128)
    shown = target + 0.02 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    contrast = contrast_of(target)
    halves = sum(structural_error(shown[:, rows], target[:, rows], contrast) for rows in (slice(64), slice(64, 128)))
    assert torch.allclose(halves, structural_error(shown, target, contrast), rtol=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (17, 33)])
def test_pictures_of_any_size_have_finite_errors_and_gradients(shape):
    target = torch.full((1, *shape, 3), 0.5)
    shown = (target + 0.1).requires_grad_()
    total = error(shown, target)
    (gradient,) = torch.autograd.grad(total.sum(), shown)
    assert torch.isfinite(total).all() and torch.isfinite(gradient).all() and total > 0


def test_contrast_of_a_large_picture_is_found_part_by_part(tiny_photo_prior, monkeypatch):
    batch = Batch(tiny_photo_prior, Settings(tune="iq"), smooth_pictures(2, 128))
    whole = batch.contrast
    monkeypatch.setattr(batches, "LOOKED_AT", 64)
    parts = dataclasses.replace(batch).contrast
    assert whole.shape == (2, len(structure.SCALE_WEIGHTS), 3)
    assert torch.allclose(parts, whole, rtol=0.4)  # windows at the edges of parts differ
    assert Batch(tiny_photo_prior, Settings(), smooth_pictures(1, 64)).contrast is None


def test_pixels_beyond_a_picture_do_not_count(tiny_photo_prior):
    picture = smooth_pictures(1, SIDE)[0][:50, :40]
    batch = Batch(tiny_photo_prior, Settings(tune="iq"), [picture])
    classes = np.zeros((1, 4, 3), np.int64)
    plain = Subject.of(tiny_photo_prior, batch.point(0), batch.stack, (50, 40, 3), classes)
    subject = plain.with_structure(batch.contrast)
    shown = subject.target.clone()
    shown[:, 50:] += 0.3
    shown[:, :, 40:] -= 0.3
    area = Rectangle.of(*shown.shape[1:3])
    assert float(subject.error(shown, slice(0, 1), area)) == 0
    shown[:, 10, 10] += 0.1
    assert float(subject.error(shown, slice(0, 1), area)) > 0
