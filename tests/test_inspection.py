"""`combiner inspect`: sums, counts and the command."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import combiner_codec
from combiner_codec import CombinerError, FormatError
from combiner_codec.command import cli
from combiner_codec.decoder import decode_array, parse
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.posterior import Gaussians, kl_nats
from combiner_codec.encoder.fit.saved import SavedPosterior
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.format.classmap import ONE_CLASS
from combiner_codec.format.streams import index_of
from combiner_codec.inspect.facts import facts
from combiner_codec.inspect.figures import ACTIVE, EQUAL, Inspection, unit_bits
from combiner_codec.inspect.text import report
from combiner_codec.training import recipes
from conftest import busy_pictures, smooth_pictures


def saved(folder, architecture, metadata, point):
    priors.save(folder / "made.npz", metadata, architecture, [point])
    return priors.load_file(folder / "made.npz")


@pytest.fixture(scope="module")
def siren_prior(tmp_path_factory):
    """An untrained SIREN for 8 x 8 pictures, independent groups."""
    architecture, rng = recipes.siren_architecture(8), np.random.default_rng(0)
    d = architecture.latents
    kl_index = index_of(rng.uniform(0, 3, (1, d)))
    tables = rng.normal(size=d), np.full(d, 0.3), kl_index, np.zeros((0, 4, d), np.uint8)
    point = priors.OperatingPoint(0.01, *tables, {}, group_bits=8, index_bits=8, contexts=ONE_CLASS)
    return saved(tmp_path_factory.mktemp("siren"), architecture, {**recipes.SIREN_METADATA, "steps": 4}, point)


@pytest.fixture(scope="module")
def merged_prior(tmp_path_factory):
    """A linear prior of tiles of two sizes, as likely one as the other."""
    architecture, rng = replace(recipes.linear_part(recipes.folded_architecture(16)), side=4), np.random.default_rng(1)
    kl, merged = rng.integers(0, 90, (3, 768), np.uint8), rng.integers(0, 80, (2, 4, 768), np.uint8)
    shared = {"w1": np.eye(3, dtype=np.float32)[None, None], "b1": np.full(3, 0.5, np.float32)}
    tables = np.zeros(768), np.full(768, 0.1), kl, merged, shared
    point = priors.OperatingPoint(0.01, *tables, 6, 16, np.zeros((3, 6, 5), np.int8))
    return saved(tmp_path_factory.mktemp("merged"), architecture, {**recipes.METADATA, "steps": 2}, point)


def look(prior, picture, **given):
    """A picture encoded, and its inspection with posterior and original."""
    result = encode_arrays([picture], prior, Settings(0.005, "fast", keep_posterior=True))[0]
    contents = parse(result.data, prior)
    return result, Inspection(result.data, contents, result.saved, picture, **given)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("name", ["tiny_prior", "tiny_photo_prior", "siren_prior", "merged_prior"])
def test_bits_add_up_to_the_file(name, grey, request):
    picture = busy_pictures(1, 80)[0][: 8 if name == "siren_prior" else 70]
    result, found = look(request.getfixturevalue(name), picture[..., 0].copy() if grey else picture)
    totals, payload = found.totals, 8 * (len(result.data) - found.contents.header_bytes)
    assert totals["file"] == 8 * len(result.data) == sum(v for k, v in totals.items() if k != "file")
    assert 0 <= totals["padding"] < 8
    streams = totals["streams"]
    assert found.bits.sum() == pytest.approx(streams)
    assert found.bits.sum(1) == pytest.approx(found.lengths)
    assert found.tile_bits.sum() == pytest.approx(payload - totals["padding"])
    plain = facts(found)
    assert sum(part["bits"] for part in plain["parts"]) == pytest.approx(streams, abs=0.01)
    groups = plain["groups"]
    assert len(groups["latents"]) * groups["bits_each"] == streams
    assert sum(groups["latents"]) == sum(part["coded"] for part in plain["parts"])
    for figure in (sum(groups["kl_bits"]), np.sum(plain["tiles"]["kl_bits"])):
        assert figure == pytest.approx(sum(part["kl_bits"] for part in plain["parts"]), rel=1e-3, abs=0.1)


def test_bits_lie_where_the_classes_are_dear(tiny_photo_prior):
    """The picture is smooth at its left and noisy at its right."""
    _, found = look(tiny_photo_prior, busy_pictures(1, 128)[0])
    assert found.tile_bits.shape == (8, 8)
    assert found.tile_bits[:, 4:].sum() > 1.5 * found.tile_bits[:, :4].sum()


def test_the_saved_posterior_is_the_one_before_coding(each_prior):
    result, found = look(each_prior, busy_pictures(1, 64)[0])
    classes = result.ideal_bits - found.kl.sum()
    assert classes == pytest.approx(found.class_bits.sum(), abs=3)
    fitted = result.saved
    q = [torch.from_numpy(x).double() for x in (fitted.mu, fitted.sigma)]
    p = [torch.from_numpy(x).double() for x in (fitted.mean, fitted.scale)]
    nats = kl_nats(*q, Gaussians(*p, p[1]))
    assert found.kl * np.log(2) == pytest.approx(nats.numpy(), abs=1e-6)
    coded = fitted.scale > 0
    assert (fitted.sigma[coded] > 0).all() and (coded == (found.costs > 0)).all()


def shifted(architecture, bits):
    """A posterior whose KL is `bits` {(layer, input, output): bits}; inputs count the row of biases last."""
    parts = architecture.parts
    values = np.zeros(architecture.latents)
    for (layer, row, column), value in bits.items():
        values[parts[layer].start + row * parts[layer].shape[1] + column] = value
    one, mean = np.ones((1, values.size), np.float32), np.full((1, values.size), 0.3, np.float32)
    # with the prior's scale, KL is (mu - mean)^2 / 2 nats
    return SavedPosterior((mean + np.sqrt(2 * np.log(2) * values)).astype(np.float32), one, mean, one)


def test_active_units_of_a_synthetic_posterior():
    """16 units in each of three layers; layer 3 is the output."""
    architecture = recipes.siren_architecture(8)

    def active(bits):
        kl = shifted(architecture, bits).kl_bits()
        return [np.flatnonzero(unit[0] >= ACTIVE).tolist() for unit in unit_bits(architecture, kl)]

    assert active({}) == [[], [], []]
    assert active({(0, 5, 2): 0.6, (1, 2, 9): 0.5}) == [[2], [], []]  # in and out together
    assert active({(0, 5, 2): 0.6, (1, 3, 9): 0.5}) == [[], [], []]  # of two units
    assert active({(1, 2, 9): 1.5}) == [[2], [9], []]  # out of one unit, into another
    assert active({(0, 32, 7): 1.1, (1, 16, 4): 1.1}) == [[7], [4], []]  # biases count for their own unit alone
    assert active({(3, 11, 0): 0.4, (3, 11, 1): 0.4, (3, 11, 2): 0.4}) == [[], [], [11]]
    assert active({(3, 16, 1): 9.0}) == [[], [], []]  # a bias of the output belongs to no hidden unit


def test_active_units_of_a_file(siren_prior):
    """Those of the prior follow from its table, those of the posterior from the posterior."""
    result, found = look(siren_prior, smooth_pictures(1, 8)[0])
    made = shifted(siren_prior.architecture, {(0, 1, 3): 2.0, (2, 1, 5): 0.7, (3, 5, 0): 0.7})
    units = facts(replace(found, fitted=made))["hidden_units"]
    assert units == {"counted": 48, "active_in_prior": [48], "active_in_posterior": [2]}
    assert "active hidden units: 48 in the prior, 2 in this posterior, of 48" in report(replace(found, fitted=made))
    alone = Inspection(result.data, found.contents)
    assert facts(alone)["hidden_units"]["active_in_posterior"] is None
    assert "need --posterior" in report(alone) and "KL, bits" not in report(alone)


def test_units_of_shared_layers_are_not_counted(tiny_photo_prior):
    _, found = look(tiny_photo_prior, busy_pictures(1, 64)[0])
    assert facts(found)["hidden_units"]["counted"] == 0
    assert "none are counted" in report(found)


@pytest.mark.parametrize(("kind", "said"), [("auto", "one colour"), ("lossless", "lossless WebP inside")])
def test_a_file_without_a_network_is_refused_by_name(tmp_path, kind, said):
    path = tmp_path / "a.cmb"
    path.write_bytes(combiner_codec.encode(np.full((9, 9, 3), 128, np.uint8), kind=kind))
    run = CliRunner().invoke(cli.cli, ["inspect", str(path)])
    assert isinstance(run.exception, FormatError)
    assert str(run.exception) == f"{path}: {said}: there is nothing to look into"


def test_a_plain_picture_is_inspected_too(tiny_prior):
    """It has few bits, and may come back without an error; with one colour alone there is nothing to see."""
    from combiner_codec.inspect import drawing

    picture = np.full((1, 2, 3), 128, np.uint8)
    with pytest.raises(FormatError, match="one colour"):
        look(tiny_prior, picture)
    picture[0, 0] = 127, 127, 128
    _, found = look(tiny_prior, picture)
    assert found.psnr <= EQUAL and "2 x 1, RGB" in report(found)
    assert Image.open(io.BytesIO(drawing.sheet(found)))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_counted(mode, tiny_prior):
    from combiner_codec.inspect import drawing

    picture = smooth_pictures(1, 32)[0]
    picture = np.dstack([picture if mode == "RGBA" else picture[..., 0], picture[..., 1]])
    _, found = look(tiny_prior, picture)
    text = report(found)
    assert sum(v for k, v in found.totals.items() if k != "file") == found.totals["file"]
    assert (
        found.totals["alpha"] > 0
        and "alpha   " in text
        and "32 x 32, " + ("RGBA" if mode == "RGBA" else "grey, alpha") in text
    )
    assert Image.open(io.BytesIO(drawing.sheet(found)))


def test_an_original_of_another_shape_is_refused(tiny_prior):
    picture = smooth_pictures(1, 20)[0]
    result, found = look(tiny_prior, picture)
    for other in (picture[:-1], picture[..., 0]):
        with pytest.raises(FormatError, match="the original is"):
            Inspection(result.data, found.contents, None, other)


def invoke(*arguments):
    return CliRunner().invoke(cli.cli, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def kept(tmp_path_factory, tiny_prior_file):
    """A picture, its file and its posterior, made by the command."""
    folder = tmp_path_factory.mktemp("kept")
    Image.fromarray(smooth_pictures(1, 40)[0]).save(folder / "in.png")
    arguments = ["encode", folder / "in.png", "-o", folder / "a.cmb", "--save-posterior", folder / "a.npz"]
    done = invoke(*arguments, "--effort", "fast", "--prior", tiny_prior_file)
    assert done.exit_code == 0, done.output
    return folder


def test_the_command_from_encoding_to_the_plot(kept, tiny_prior_file, tmp_path):
    common = ["inspect", kept / "a.cmb", "--prior", tiny_prior_file]
    given = [*common, "--posterior", kept / "a.npz", "--image", kept / "in.png"]
    told = json.loads(invoke(*given, "--json").stdout)
    assert told["bytes"] == (kept / "a.cmb").stat().st_size and np.shape(told["tiles"]["kl_bits"]) == (2, 2)
    decoded = decode_array((kept / "a.cmb").read_bytes(), priors.load_file(tiny_prior_file))
    error = np.mean((np.asarray(Image.open(kept / "in.png")).astype(float) - decoded) ** 2)
    assert told["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
    alone = json.loads(invoke(*common, "--json").stdout)
    assert alone["parts"][0]["kl_bits"] is alone["tiles"]["kl_bits"] is alone["psnr"] is None
    assert alone["bits"] == told["bits"]
    drawn = invoke(*given, "--plot", tmp_path / "p.png")
    assert drawn.exit_code == 0 and "from the posterior" in drawn.stdout
    assert np.asarray(Image.open(tmp_path / "p.png").convert("L")).std() > 10


def test_sirens_and_grey_pictures_are_drawn_too(siren_prior):
    from combiner_codec.inspect import drawing

    _, found = look(siren_prior, smooth_pictures(1, 8)[0, ..., 0].copy())
    assert b"<svg" in drawing.sheet(found, ".svg")


def test_what_does_not_belong_to_the_file_is_refused(kept, tiny_prior_file, tmp_path):
    common = ["inspect", kept / "a.cmb", "--prior", tiny_prior_file]
    data, other, uneven = (kept / "a.cmb").read_bytes(), tmp_path / "b.npz", tmp_path / "c.npz"
    fitted = SavedPosterior.parse((kept / "a.npz").read_bytes(), data)
    other.write_bytes(fitted.to_bytes(b"else"))
    uneven.write_bytes(replace(fitted, mu=fitted.mu[:1]).to_bytes(data))
    for option, path, text in (
        ("--posterior", other, "another .cmb file"),
        ("--posterior", kept / "in.png", "not a posterior"),
        ("--posterior", uneven, "not a posterior"),
        ("--plot", tmp_path / "p.xyz", "cannot draw"),
    ):
        error = invoke(*common, option, path).exception
        assert isinstance(error, CombinerError) and text in str(error)


def test_a_posterior_has_one_picture_and_a_name_of_its_own(kept, tmp_path):
    picture, out, other = kept / "in.png", tmp_path / "o.cmb", tmp_path / "other.png"
    other.write_bytes(picture.read_bytes())
    assert invoke("encode", picture, other, "--output-dir", tmp_path, "--save-posterior", "p.npz").exit_code == 2
    assert "named twice" in str(invoke("encode", picture, "-o", out, "--save-posterior", out).exception)
    assert "no such folder" in str(invoke("encode", picture, "-o", out, "--save-posterior", "no/p.npz").exception)
    assert not out.exists()


def test_the_report_imports_neither_torch_nor_matplotlib(kept, tiny_prior_file):
    done = without(["torch", "matplotlib"], kept, tiny_prior_file)
    assert done.returncode == 0 and "from the posterior" in done.stdout, done.stderr


def test_a_plot_without_matplotlib_is_one_line(kept, tiny_prior_file, tmp_path):
    done = without(["matplotlib"], kept, tiny_prior_file, "--plot", str(tmp_path / "p.png"))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "matplotlib" in done.stderr


def without(modules, kept, prior, *more):
    """`combiner inspect` in a process where some imports fail."""
    given = ["--posterior", str(kept / "a.npz"), "--image", str(kept / "in.png"), "--prior", str(prior), *more]
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({modules}))\n"
        "from combiner_codec.command.cli import main\n"
        f"sys.argv = ['combiner', 'inspect', {str(kept / 'a.cmb')!r}, *{given}]; main()"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
