"""`combiner bench`: pictures, codecs, results that are kept, curves, reports."""

import dataclasses
import io
import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from combiner_codec import CombinerError, FormatError, TargetError
from combiner_codec.bench import codecs, command, curves, digest, measure, pictures, quality, report
from combiner_codec.command import cli
from conftest import smooth_pictures


@dataclasses.dataclass(frozen=True)
class Counter:
    """A codec that counts its calls and keeps the top bits of every sample: a setting is the number of bits."""

    name: str = "counter"
    settings: tuple = (2, 4)
    version: str = "1"
    calls: list = dataclasses.field(default_factory=list, hash=False, compare=False)

    def label(self, setting):
        return str(setting)

    def identity(self, pixels, setting):
        return f"{self.version} {setting}"

    def encode(self, pixels, setting, threads=0):
        self.calls.append((setting, len(pixels)))
        low = (1 << 8 - setting) - 1
        packed = [np.array(p.shape, np.uint16).tobytes() + (p & ~np.uint8(low)).tobytes() for p in pixels]
        return [codecs.File(data, {"kept": setting}) for data in packed]

    def decode(self, data, threads=0):
        return np.frombuffer(data[6:], np.uint8).reshape(np.frombuffer(data[:6], np.uint16))


def groups(count=3, side=16, seed=0):
    own = [pictures.Picture(f"p{i}", p) for i, p in enumerate(smooth_pictures(count, side, seed))]
    return [pictures.Group((p,)) for p in own]


@pytest.fixture
def folder(tmp_path):
    """A folder as users have them: pictures, a grey one, a broken one and a text file."""
    where = tmp_path / "mixed"
    where.mkdir()
    first, second = smooth_pictures(2, side=24)
    Image.fromarray(first).save(where / "a.png")
    Image.fromarray(second).convert("L").save(where / "grey.png")
    (where / "broken.png").write_bytes((where / "a.png").read_bytes()[:200])
    (where / "notes.txt").write_text("not a picture\n")
    return where


def test_bd_rate_of_parallel_lines_is_their_distance():
    anchor = [(rate, 20 + 10 * np.log10(rate / 0.1)) for rate in (0.1, 0.3, 0.6, 1.0)]
    assert curves.bd_rate(anchor, [(0.8 * r, q) for r, q in anchor]) == pytest.approx(-20, abs=1e-6)
    assert curves.bd_rate(anchor, [(2 * r, q) for r, q in anchor]) == pytest.approx(100, abs=1e-6)
    assert curves.bd_rate(anchor, anchor) == pytest.approx(0, abs=1e-9)


def test_bd_rate_of_crossing_lines_is_the_mean_over_the_common_range():
    # log10 rate: q / 10 against q / 5 - 3 over 20 … 40 dB; the difference q / 10 - 3 has the mean 0 over 20 … 40
    # and -0.5 over 20 … 30, where the second curve ends: 10^-0.5 - 1 = -68.4 %
    anchor = [(10 ** (q / 10), q) for q in (20, 30, 40)]
    assert curves.bd_rate(anchor, [(10 ** (q / 5 - 3), q) for q in (20, 30, 40)]) == pytest.approx(0, abs=1e-6)
    assert curves.bd_rate(anchor, [(10 ** (q / 5 - 3), q) for q in (10, 20, 30)]) == pytest.approx(-68.377, abs=1e-3)


def test_bd_rate_needs_a_common_range():
    assert np.isnan(curves.bd_rate([(0.1, 20), (0.2, 22)], [(0.1, 30), (0.2, 32)]))
    assert np.isnan(curves.bd_rate([(0.1, 20), (0.2, 22)], [(0.1, 21)]))


def test_bd_rate_can_be_cut_to_a_range_of_quality():
    anchor = [(10 ** (q / 10), q) for q in (20, 30, 40)]
    curve = [(10 ** (q / 5 - 3), q) for q in (20, 30, 40)]
    assert curves.bd_rate(anchor, curve, within=(10, 30)) == pytest.approx(-68.377, abs=1e-3)
    assert curves.common_range(anchor, curve, within=(10, 30)) == (20, 30)
    assert np.isnan(curves.bd_rate(anchor, curve, within=(40, 50)))


def test_a_monotone_cubic_goes_through_its_points_without_overshoot():
    x, y = np.array([0.0, 1.0, 2.0, 5.0]), np.array([0.0, 0.1, 3.0, 3.1])
    assert curves.pchip(x, y, x) == pytest.approx(y)
    assert (np.diff(curves.pchip(x, y, np.linspace(0, 5, 200))) >= 0).all()


def test_published_curves_are_data_with_sources():
    for name in ("kodak", "cifar10"):
        for entry in curves.published(name):
            points = sorted(entry["points"])
            assert entry["source"] and entry["name"] and len(points) > 1
            assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(points)), entry["name"]
            assert curves.published_curve(name, entry["name"]) == entry["points"]


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise():
    rng = np.random.default_rng(0)
    for side in (7, 32, 200):
        picture = smooth_pictures(1, side)[0]
        noisy = [np.clip(picture + rng.normal(0, s, picture.shape), 0, 255).astype(np.uint8) for s in (5, 25)]
        assert quality.ssim(picture, picture) == pytest.approx(1, abs=1e-5)
        assert 1 > quality.ssim(picture, noisy[0]) > quality.ssim(picture, noisy[1])
    assert quality.psnr(picture, picture) == 100


def test_ssim_of_two_flat_pictures_is_their_luminance_term():
    a, b = np.full((16, 16, 3), 100, np.uint8), np.full((16, 16, 3), 150, np.uint8)
    assert quality.ssim(a, b) == pytest.approx((2 * 100 * 150 + quality.C1) / (100**2 + 150**2 + quality.C1), abs=1e-4)


def stand_in(folder, monkeypatch, script):
    """A program in the place of butteraugli_main."""
    program = folder / "bin" / quality.BUTTERAUGLI
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


def test_butteraugli_is_nought_for_equal_pictures_and_grows_with_noise():
    if not quality.has_butteraugli():
        pytest.skip(f"{quality.BUTTERAUGLI} is not installed")
    picture = smooth_pictures(1, 32)[0]
    noise = np.random.default_rng(0).normal(0, 1, picture.shape)
    near, far = (quality.butteraugli(picture, np.clip(picture + s * noise, 0, 255).astype(np.uint8)) for s in (3, 25))
    assert 0 == quality.butteraugli(picture, picture) < near < far


def test_butteraugli_that_fails_says_why(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "echo no memory >&2; exit 1")
    with pytest.raises(CombinerError, match="no memory"):
        quality.butteraugli(*smooth_pictures(2, 8))


def test_butteraugli_is_added_where_its_program_is_there_and_left_out_where_not(tmp_path, monkeypatch):
    codec, own, store = codecs.OTHERS["jpeg"], groups(1, side=quality.MULTISCALE), measure.Store(None)
    codec = dataclasses.replace(codec, settings=(10, 80))
    monkeypatch.setattr(quality, "has_butteraugli", lambda: False)
    measure.measure([codec], own, store)
    curve = {codec.name: measure.points(codec, own, store)}
    assert "Butteraugli" not in report.points_table(curve)[0]
    assert "not on PATH" in quality.notes(["psnr", "butteraugli"])[0] and quality.notes(["psnr"]) == []
    monkeypatch.undo()
    stand_in(tmp_path, monkeypatch, "echo 3.5; echo 3-norm: 1.25")
    measure.measure([codec], own, store)  # files of other codecs are made again for it
    table = report.points_table(curve | {"again": measure.points(codec, own, store)})
    assert "| Butteraugli |" in table[0] and "|  |" in table[2] and "| 1.250 |" in table[4]


def test_ssimulacra2_is_100_for_equal_pictures_and_falls_with_noise():
    if not quality.has_ssimulacra2():
        pytest.skip("ssimulacra2 is not installed")
    picture = smooth_pictures(1, quality.MULTISCALE)[0]
    noise = np.random.default_rng(0).normal(0, 1, picture.shape)
    near, far = (quality.ssimulacra2(picture, np.clip(picture + s * noise, 0, 255).astype(np.uint8)) for s in (3, 25))
    assert quality.ssimulacra2(picture, picture) == pytest.approx(100) and 100 > near > far


def test_only_metrics_that_are_asked_for_are_measured_and_shown(monkeypatch):
    metric = dataclasses.replace(quality.EYE["ssimulacra2"], installed=lambda: True, measure=lambda a, b: 42.0)
    monkeypatch.setitem(quality.EYE, "ssimulacra2", metric)
    codec, own = dataclasses.replace(codecs.OTHERS["jpeg"], settings=(10,)), groups(1, side=quality.MULTISCALE)
    store = measure.Store(None)
    measure.measure([codec], own, store, metrics=["psnr"])
    assert measure.points(codec, own, store)[0].eye == {}
    measure.measure([codec], own, store, metrics=["psnr", "ssimulacra2"])
    curve = {codec.name: measure.points(codec, own, store)}
    header, _, row = report.points_table(curve, ["psnr", "ssimulacra2"])
    assert "| PSNR, dB | SSIMULACRA 2 |" in header and "SSIM |" not in header and "| 42.0 |" in row
    small = groups(1, side=quality.MULTISCALE - 1)[0]
    assert "ssimulacra2" not in measure.record_of(codec, 10, small, metrics=["ssimulacra2"])


def test_a_second_run_goes_on_where_the_first_was_stopped(tmp_path):
    class Stop(Exception):
        pass

    seen = []

    def stop(line):
        seen.append(line)
        if len(seen) == 2:
            raise Stop

    codec, path = Counter(), tmp_path / "r.json"
    with pytest.raises(Stop):
        measure.measure([codec], groups(), measure.Store(path), report=stop)
    assert len(codec.calls) == 2
    measure.measure([codec], groups(), measure.Store(path))
    assert len(codec.calls) == 6
    low, high = measure.points(codec, groups(), measure.Store(path))
    assert low.pictures == 3 and low.psnr < high.psnr and low.facts == {"kept": 2}
    assert low.bpp == pytest.approx(8 * (6 + 16 * 16 * 3) / 256)


def test_a_changed_picture_or_encoder_is_measured_again_and_not_mixed_in(tmp_path):
    store = measure.Store(tmp_path / "r.json")
    measure.measure([Counter()], groups(), store)
    changed = groups()
    changed[1] = groups(seed=9)[1]
    assert measure.points(Counter(), changed, store) == []
    again = Counter()
    measure.measure([again], changed, store)
    assert again.calls == [(2, 1), (4, 1)]
    newer = Counter(version="2")
    assert measure.points(newer, changed, store) == []
    measure.measure([newer], changed, store)
    assert len(newer.calls) == 6


def test_a_codec_that_fails_is_named_and_the_others_go_on(tmp_path):
    class Broken(Counter):
        def encode(self, pixels, setting, threads=0):
            raise OSError("too large")

    store, works = measure.Store(tmp_path / "r.json"), Counter()
    problems = measure.measure([Broken("broken"), works], groups(), store)
    assert problems == ["broken: left out, it failed on p0 (too large)"]
    assert len(measure.points(works, groups(), store)) == 2


def test_a_picture_without_a_file_fails_the_codec_with_its_reason(tiny_prior, monkeypatch):
    monkeypatch.setattr("combiner_codec.encoder.encode.encode_arrays", lambda *a, **k: [TargetError("out of reach")])
    ours = codecs.CombinerCodec("ours", "fast", (0.01,), tiny_prior)
    (line,) = measure.measure([ours], groups(1), measure.Store(None))
    assert line == "ours: left out, it failed on p0 (out of reach)"


def test_pictures_of_several_priors_come_back_in_their_order(tiny_prior, tiny_photo_prior, monkeypatch):
    small, large = smooth_pictures(2, 32), smooth_pictures(1, 40)
    monkeypatch.setattr(codecs.priors, "default", lambda width, _: tiny_prior if width == 32 else tiny_photo_prior)
    mixed = [small[0], large[0], small[1]]
    files = codecs.CombinerCodec(effort="fast").encode(mixed, 0.01)
    alone = [codecs.CombinerCodec(effort="fast").encode([picture], 0.01)[0].data for picture in mixed[1:2]]
    assert files[1].data == alone[0] and files[0].facts.keys() == files[1].facts.keys()
    for picture, file, prior in zip(mixed, files, (tiny_prior, tiny_photo_prior, tiny_prior), strict=True):
        assert codecs.decode_array(file.data, prior).shape == picture.shape


def test_ours_stores_a_drawing_as_it_is_asked_to(tiny_prior):
    drawing = np.full((64, 64, 3), 250, np.uint8)
    drawing[8:24, 8:40] = (20, 60, 200)
    files = {}
    for kind in ("inr", "auto", "lossless"):
        codec = codecs.CombinerCodec(effort="fast", prior=tiny_prior, kind=kind)
        (file,) = codec.encode([drawing], 0.003)
        files[kind] = file.data
        assert (codec.decode(file.data) == drawing).all() == (kind != "inr")
    assert files["auto"] == files["lossless"]
    identities = {codecs.CombinerCodec(kind=kind).identity([drawing], 0.003) for kind in files}
    assert len(identities) == 3
    plan = command.Plan(sources=[], kind="auto")
    assert [codec.name for codec in command.ours(plan)] == ["combiner normal, auto"]


def test_results_of_something_else_are_refused(tmp_path):
    for text in ("[", "[]", '{"rows": {}}'):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(FormatError, match="not results"):
            measure.Store(tmp_path / "r.json")


def test_small_pictures_are_encoded_together_and_large_ones_alone():
    small = [pictures.Picture(f"s{i}", np.zeros((32, 32, 3), np.uint8)) for i in range(1500)]
    large = pictures.Picture("large", np.zeros((200, 200, 3), np.uint8))
    assert [len(g.pictures) for g in pictures.grouped([large, *small])] == [1024, 476, 1]


def test_files_that_are_no_pictures_are_named_and_left_out(folder):
    found, problems = pictures.collect([folder])
    assert [(p.name, p.pixels.shape) for p in found] == [("a.png", (24, 24, 3)), ("grey.png", (24, 24, 3))]
    assert (found[1].pixels[..., 0] == found[1].pixels[..., 2]).all()
    assert len(problems) == 2 and "broken.png" in problems[0] and "notes.txt" in problems[1]
    Image.new("RGBA", (24, 24)).save(folder / "alpha.png")
    assert "alpha.png: has alpha" in pictures.collect([folder])[1][0]


def test_folders_below_are_taken_too_without_hidden_ones(folder):
    for name in ("deep/er", ".hidden"):
        (folder / name).mkdir(parents=True)
        (folder / name / "c.png").write_bytes((folder / "a.png").read_bytes())
    assert [p.name for p in pictures.collect([folder])[0]] == ["a.png", "grey.png", "c.png"]


def test_outputs_of_an_earlier_run_are_no_inputs(folder):
    (folder / "plot.png").write_bytes((folder / "a.png").read_bytes())
    names = [picture.name for picture in pictures.collect([folder], besides=[folder / "plot.png"])[0]]
    assert "a.png" in names and "plot.png" not in names


def test_arrays_are_read_and_other_arrays_refused(tmp_path):
    np.save(tmp_path / "a.npy", smooth_pictures(5))
    np.save(tmp_path / "f.npy", np.zeros((2, 3)))
    found, problems = pictures.collect([tmp_path], limit=3)
    assert [p.name for p in found] == ["a.npy[0]", "a.npy[1]", "a.npy[2]"] and not problems
    with pytest.raises(FormatError, match="expected uint8"):
        pictures.read(tmp_path / "f.npy")


def test_codecs_that_are_not_installed_are_named(monkeypatch):
    absent = dataclasses.replace(codecs.OTHERS["jxl"], library=lambda: None)
    monkeypatch.setitem(codecs.OTHERS, "jxl", absent)
    found, missing = codecs.others(["jpeg", "jxl"])
    assert [codec.name for codec in found] == ["jpeg"]
    assert len(missing) == 1 and missing[0].startswith("jxl: not installed, left out")


def test_names_in_tables_tell_speed_and_sampling_and_no_two_are_alike():
    names = [codec.name for codec in codecs.OTHERS.values()]
    assert {"heic 4:4:4", "avif 4:4:4, speed 6", "avif 4:4:4, speed 2"} <= set(names) and len(set(names)) == len(names)
    assert command.curve_name("avif-slow") == "avif 4:4:4, speed 2" and command.curve_name(None) is None


def test_heic_stores_colour_at_full_resolution():
    codec = codecs.OTHERS["heic"]
    if not codec.library():
        pytest.skip("heic is not installed")
    before = codec.identity([], 50)
    (file,) = codec.encode(smooth_pictures(1, 64), 50)
    assert codec.identity([], 50) == before  # or no later run would find what is kept
    assert Image.open(io.BytesIO(file.data)).info["chroma"] == 444


@pytest.mark.parametrize("name", list(codecs.OTHERS))
def test_other_codecs_give_more_quality_for_more_bytes(name):
    codec = codecs.OTHERS[name]
    if not codec.library():
        pytest.skip(f"{name} is not installed")
    group = groups(1, side=64)[0]
    low, high = (measure.record_of(codec, s, group) for s in (codec.settings[1], codec.settings[-2]))
    assert low["bytes"][0] < high["bytes"][0] and low["psnr"][0] < high["psnr"][0]


def test_the_digest_of_the_code_ignores_comments_docstrings_and_layout():
    plain = {"module": "def f(x):\n    return x + 1\n"}
    spoken = {"module": '"""About it."""\n\n\ndef f(x):\n    """More."""\n    return (x + 1)  # a reason\n'}
    assert digest.digest_of(plain) == digest.digest_of(spoken)
    others = [{"module": plain["module"].replace("1", "2")}, {"other": plain["module"]}, {}]
    assert len({digest.digest_of(sources) for sources in (plain, *others)}) == 4


def test_the_digest_is_of_all_code_that_decides_a_file_and_of_no_other():
    rooms = {name.split(".")[0] for name in digest.deciding_modules()}
    assert {"decoder", "encoder", "format", "synthesis", "picture", "root"} <= rooms
    assert not rooms & {"bench", "inspect", "training", "command"}
    package = Path(codecs.__file__).parents[1]
    for room in ("encoder", "format", "synthesis"):
        paths = [path.relative_to(package) for path in (package / room).rglob("*.py") if path.stem != "__init__"]
        modules = {".".join(path.with_suffix("").parts) for path in paths}
        assert modules <= set(digest.deciding_modules())


def test_bench_of_a_folder_as_a_new_user_runs_it(folder, tiny_prior_file, tmp_path):
    def run(*more):
        arguments = ["bench", str(folder), "--prior", str(tiny_prior_file), "--effort", "fast", "--beta", "0.01"]
        arguments += ["--codec", "jpeg,webp", "--json", str(tmp_path / "r.json"), *more]
        return CliRunner().invoke(cli.cli, arguments)

    first = run("--plot", str(tmp_path / "r.svg"), "--markdown", str(tmp_path / "r.md"))
    assert first.exit_code == 0, first.output
    assert "left out: " in first.stderr and "broken.png" in first.stderr and "notes.txt" in first.stderr
    assert "| combiner fast, tiny | beta 0.01 | 2 |" in first.stdout and "Left out (2):" in first.stdout
    assert (tmp_path / "r.svg").stat().st_size > 1000 and (tmp_path / "r.md").read_text() == first.stdout
    kept = json.loads((tmp_path / "r.json").read_text())
    assert set(kept["curves"]) == {"combiner fast, tiny", "jpeg", "webp"}
    second = run()
    assert "[1/" not in second.stderr and second.stdout == first.stdout


def test_bench_needs_pictures_and_known_codecs(folder, tmp_path):
    runner = CliRunner()
    (tmp_path / "empty").mkdir()
    assert isinstance(runner.invoke(cli.cli, ["bench", str(tmp_path / "empty")]).exception, FormatError)
    assert runner.invoke(cli.cli, ["bench", str(folder), "--codec", "jpeg,gif"]).exit_code == 2
    assert runner.invoke(cli.cli, ["bench", str(folder), "--metrics", "psnr,vmaf"]).exit_code == 2
    plan = command.Plan([folder], others=["jpeg"], anchor="vvc")
    with pytest.raises(FormatError, match="no curve named vvc"):
        command.bench(plan, lambda line: None)


def test_betas_are_given_with_commas_or_one_by_one(folder, tiny_prior_file):
    arguments = ["bench", str(folder), "--prior", str(tiny_prior_file), "--effort", "fast", "--codec", "none"]
    many, each = (
        CliRunner().invoke(cli.cli, [*arguments, *betas])
        for betas in (["--beta", "0.05,0.02"], ["--beta", "0.05", "--beta", "0.02"])
    )
    assert many.exit_code == each.exit_code == 0, many.output + each.output
    assert many.stdout.count("| combiner fast, tiny | beta 0.0") == each.stdout.count("| combiner fast, tiny |") == 2
    for wrong in ("0.05,x", "0.05,-1", "nan"):
        assert CliRunner().invoke(cli.cli, [*arguments, "--beta", wrong]).exit_code == 2


def test_a_plot_that_cannot_be_drawn_is_refused_before_the_work(folder, monkeypatch):
    plan = command.Plan([folder], others=["jpeg"], plot=folder / "rd.svg")
    for path, missing, text in (("rd.doc", False, "cannot draw"), ("rd.svg", True, "matplotlib")):
        if missing:
            monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(CombinerError, match=text):
            command.bench(dataclasses.replace(plan, plot=folder / path), lambda line: pytest.fail(line))
