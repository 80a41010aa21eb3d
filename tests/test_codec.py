import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from combiner_codec.decoder import decode_array, parse
from combiner_codec.encoder.batch import as_pixels
from combiner_codec.encoder.choose.chooser import Chooser
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.descent import Descent
from combiner_codec.encoder.fit.noise import Noise
from combiner_codec.encoder.fit.subject import Subject
from combiner_codec.encoder.settings import Settings, resolve_device
from combiner_codec.errors import FormatError, MissingError
from combiner_codec.format import header as file
from combiner_codec.format import prior as priors
from combiner_codec.format.classmap import ONE_CLASS
from conftest import busy_pictures, smooth_pictures

SAMPLES = Path(__file__).parents[1] / "assets" / "samples"


def encode(picture, prior, beta=0.01, **options):
    return encode_all([picture], prior, beta, **options)[0]


def encode_all(pictures, prior, beta=0.01, effort="fast", **options):
    return encode_arrays(pictures, prior, Settings(beta, effort, **options))


@pytest.mark.parametrize("shape", [(1, 1), (32, 32), (31, 37), (1, 70), (64, 48)])
def test_any_size_comes_back(shape, tiny_prior):
    comes_back(smooth_pictures(1, 80)[0][: shape[0], : shape[1]], tiny_prior)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 5), (31, 37), (259, 387)])
def test_any_size_comes_back_as_a_whole_field(shape, tiny_photo_prior):
    """The largest is decoded in single precision, and in several strips and chunks of blocks."""
    comes_back(smooth_pictures(1, 512)[0][-shape[0] :, -shape[1] :], tiny_photo_prior)


def comes_back(picture, prior):
    result = encode(picture, prior)
    decoded = decode_array(result.data, prior)
    assert decoded.shape == picture.shape and decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, result.pixels)
    assert result.psnr > 18


def test_a_picture_without_a_single_bit_in_some_blocks_comes_back(tiny_photo_prior):
    """Streams of length 0 among others: one class of tiles is made free, and merged ones."""
    point = tiny_photo_prior.operating_point(0)
    kl_index = point.kl_index.copy()
    kl_index[point.tile_bits[: point.single].argmin()] = 0
    free = replace(point, kl_index=kl_index, merged=np.zeros_like(point.merged))
    prior = resaved(tiny_photo_prior, [free])
    picture = busy_pictures(1, 128)[0]
    picture[:, :64] = np.rint(255 * point.shared["b1"])  # what latents of 0 show, but for the network
    lengths = parse(encode(picture, prior).data, prior).colour.blocks.lengths
    assert lengths.min() == 0 < lengths.max()


@pytest.mark.parametrize("bits", [(1, 8), (10, 12), (11, 12), (12, 12)])
def test_any_width_of_groups_comes_back(bits, each_prior):
    """Groups of one bit leave some without a latent. (12, 12) does not overlap,
    and (11, 12) has no narrower index that `fast` could take."""
    point = replace(each_prior.operating_point(1), group_bits=bits[0], index_bits=bits[1])
    prior = resaved(each_prior, [point])
    result = encode(busy_pictures(1, 40)[0], prior, 0.002)
    np.testing.assert_array_equal(decode_array(result.data, prior), result.pixels)
    kl = parse(result.data, prior).colour.blocks.kl_index()
    assert (point.partition(kl).dims.min() == 0) == (bits[0] == 1)


def resaved(prior, points):
    """A prior of other points."""
    with tempfile.TemporaryDirectory() as folder:
        priors.save(Path(folder) / "other.npz", prior.metadata, prior.architecture, points)
        return priors.load_file(Path(folder) / "other.npz")


def test_same_picture_beta_and_seed_give_the_same_file(tiny_prior):
    picture = smooth_pictures(1, 20)[0]
    a, b, other = (encode(picture, tiny_prior, seed=s, effort="normal").data for s in (1, 1, 2))
    assert a == b and a != other


def test_threads_do_not_change_pixels(each_prior):
    """Several strips and several chunks of blocks."""
    picture = smooth_pictures(1, 260)[0]
    data = encode(picture, each_prior).data
    one, two = (decode_array(data, each_prior, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one, two)


def test_batch_and_single_agree_in_size_and_order(tiny_prior):
    pictures = list(smooth_pictures(5))
    together = encode_all(pictures, tiny_prior, 0.01, effort="fast")
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
    points = [encode_all(pictures, tiny_prior, beta, effort="fast") for beta in (0.05, 0.01, 0.002)]
    sizes = [sum(len(r.data) for r in results) for results in points]
    quality = [np.mean([r.psnr for r in results]) for results in points]
    assert sizes == sorted(sizes) and quality == sorted(quality)


def test_refinement_pays():
    """More effort, less distortion at the same size, on the mean of pieces of a photograph; of a prior trained for
    seconds that cannot be said.
    """
    with Image.open(SAMPLES / "hippos.png") as picture:
        pixels = np.asarray(picture.convert("RGB").resize((160, 96)))
    pieces = [pixels[y : y + 32, x : x + 32] for y, x in ((16, 0), (16, 64), (48, 96))]
    fast, normal = (encode_all(pieces, priors.load("small"), 0.003, effort=e, point=5) for e in ("fast", "normal"))
    for a, b in zip(fast, normal, strict=True):
        assert abs(len(a.data) - len(b.data)) <= 1  # groups of other lengths
    gains = [b.psnr - a.psnr for a, b in zip(fast, normal, strict=True)]
    assert np.mean(gains) > 0.1


def test_group_budgets_hold_kl_below_their_bits(tiny_prior):
    """Per-group beta control moves the KL of every run of groups to its budget."""
    controlled = priors.parse(tiny_prior.data, "tiny", priors.CUSTOM)
    controlled.metadata["budget_groups"] = 4
    point, pictures = controlled.operating_point(1), as_pixels(smooth_pictures(4, seed=5))
    classes = Chooser(controlled, 0.004, (1,), 1).classes(point, pictures)
    subject = Subject.of(controlled, point, pictures, (32, 32), classes)
    descent = Descent.of(subject, controlled.metadata)
    budget = descent.budget
    posterior, _ = descent.run(subject.start(), 400, Noise(0))
    nats = posterior.nats(subject.prior)
    spent = torch.zeros_like(budget.allowed).scatter_add(1, budget.run, nats)[:, 1:]
    allowed, factor = budget.allowed[:, 1:], budget.factor[:, 1:]
    assert allowed.sum(1).tolist() == pytest.approx(np.log(2) * 6 * subject.latents.partition.counts)
    assert ((spent <= 1.15 * allowed + 0.7) | (factor > 15)).float().mean() > 0.9
    assert (factor != 1).any()


def test_pictures_choose_the_class_that_suits_them(each_prior):
    """A flat tile names a cheap class, noise a dear one."""
    pictures = np.full((2, 64, 64, 3), 120, np.uint8)
    pictures[1] = busy_pictures(1, 256)[0][-64:, -64:]
    classes = Chooser(each_prior, 0.002, (1,), 1).classes(each_prior.operating_point(1), as_pixels(pictures))
    bits = each_prior.operating_point(1).tile_bits[classes].mean((1, 2))
    assert bits[0] < np.median(each_prior.operating_point(1).tile_bits) and bits[1] > 2 * bits[0] + 100


def test_truncated_and_padded_files_are_refused(each_prior):
    data = encode(smooth_pictures(1, 40)[0], each_prior).data
    for bad in [data[:n] for n in range(len(data))] + [data + b"\0"]:
        with pytest.raises(FormatError):
            decode_array(bad, each_prior)


def test_payloads_of_another_length_are_refused(each_prior):
    """Also where the checksum has been put right."""
    data = encode(smooth_pictures(1, 40)[0], each_prior).data

    def altered(change):
        contents = parse(data, each_prior)
        size = file.checksum_size(len(data))
        payload = change(data[contents.header_bytes - size : -size])
        return file.write(contents.header, each_prior.architecture.tile, payload, each_prior.digest)

    assert altered(lambda payload: payload) == data
    for change in (lambda p: p[:-1], lambda p: p + b"\0", lambda p: b"", lambda p: p[:1]):
        with pytest.raises(FormatError, match=r"truncated|expected|class"):
            decode_array(altered(change), each_prior)


def only_dearest_class(point):
    """The point with one class of single tiles and no others."""
    dearest = point.tile_bits[: point.single].argmax()
    shared = {name: value[:1] if value.ndim == 2 else value for name, value in point.shared.items()}
    tables = {"kl_index": point.kl_index[[dearest]], "merged": point.merged[:0], "contexts": ONE_CLASS}
    return replace(point, **tables, shared=shared)


def test_points_of_one_class_are_chosen_by_beta(each_prior):
    points = [only_dearest_class(each_prior.operating_point(i)) for i in range(2)]
    prior, picture = resaved(each_prior, points), busy_pictures(1, 64)[0]
    chosen = [encode(picture, prior, beta, effort="fast").point for beta in (100 * prior.betas[0], prior.betas[1] / 4)]
    assert chosen == [0, 1]


@pytest.mark.parametrize("classes", [5, 1])
def test_a_small_file_cannot_claim_a_huge_picture(classes, each_prior):
    point = each_prior.operating_point(0)
    if classes == 1:
        point = only_dearest_class(point)
    prior = resaved(each_prior, [point])
    header = file.Header(priors.CUSTOM, 0, 16, 1 << 20, 1 << 20, 0, prior.digest[:4])
    data = file.write(header, prior.architecture.block, bytes(100), prior.digest)
    with pytest.raises(FormatError, match="max_pixels"):
        decode_array(data, prior)
    with pytest.raises(FormatError, match="truncated"):
        decode_array(data, prior, max_pixels=None)


def test_a_custom_prior_is_asked_for(tiny_prior):
    data = encode(smooth_pictures(1)[0], tiny_prior).data
    with pytest.raises(FormatError, match=tiny_prior.digest[:4].hex()):
        decode_array(data)


def test_cuda_that_is_absent_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("CUDA is here")
    with pytest.raises(MissingError, match="CUDA"):
        resolve_device("cuda")


def test_decoding_works_without_torch(tiny_prior, tiny_prior_file, tmp_path):
    """In a process where importing torch fails."""
    picture = smooth_pictures(1, 40)[0]
    (tmp_path / "a.cmb").write_bytes(encode(picture, tiny_prior).data)
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from combiner_codec.command.cli import main\n"
        f"sys.argv = ['combiner', 'decode', {str(tmp_path / 'a.cmb')!r}, '--prior', {str(tiny_prior_file)!r},"
        f" '-o', {str(tmp_path / 'a.png')!r}]\n"
        "main()"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "a.png").exists()


def test_a_picture_has_the_same_file_alone_and_among_others(tiny_prior):
    """Copies with refinement, other pictures without."""
    pictures = list(smooth_pictures(3, 32))
    alone = [encode(picture, tiny_prior).data for picture in pictures]
    assert [one.data for one in encode_all(pictures, tiny_prior)] == alone
    copies = {one.data for one in encode_all([pictures[0]] * 3, tiny_prior, effort="normal")}
    assert copies == {encode(pictures[0], tiny_prior, effort="normal").data}
