"""The repository's own tables: betas for rates, pages, the paper's experiments on two small pictures."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from combiner_codec.bench import codecs, curves, measure, report
from combiner_codec.errors import FormatError, MissingError
from combiner_codec.format import prior as priors
from combiner_codec.picture.image import psnr
from combiner_codec.training.recipes import RECIPES
from conftest import busy_pictures, smooth_pictures
from experiments import (
    cifar,
    cifar_page,
    drawings,
    graphics_page,
    growth,
    kodak,
    options,
    pages,
    paper,
    pipeline,
    profile,
    ranks,
    rates,
    regions,
    shapes,
)
from experiments.__main__ import PLACES, main
from experiments.reliability import drift

ROOT = Path(__file__).parents[1]


def test_every_experiment_has_a_target_and_every_target_a_line_of_help():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^EXPERIMENTS := (.*?)\n\.PHONY", makefile, re.M | re.S)[1].replace("\\\n", "").split())
    assert {name.removeprefix("bench-") for name in targets} == set(PLACES)
    described = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.M))
    phony = re.search(r"^\.PHONY: (.*)", makefile, re.M)[1].split()
    trainings = re.search(r"^TRAININGS := (.*)", makefile, re.M)[1].split()
    parts = {"fuzz-files", "fuzz-priors"}  # what fuzz is made of
    assert described == targets | {*trainings} | {name for name in phony if name[0] != "$"} - parts


@pytest.mark.parametrize("name", list(PLACES))
def test_every_experiment_explains_itself(name):
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


def test_hostile_files_are_measured_in_a_process_without_torch():
    load = "from experiments.__main__ import main; main.get_command(None, 'hostile')"
    script = f"import sys; {load}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_numbers_are_given_with_commas():
    assert options.NUMBERS.convert("0.004,0.0015", None, None) == (0.004, 0.0015)
    with pytest.raises(Exception, match="could not convert"):
        options.NUMBERS.convert("0.004,x", None, None)


def test_quality_is_interpolated_in_log_bpp_and_not_far_beyond_the_ends():
    curve = [(0.4, 32.0), (0.1, 28.0), (0.2, 31.0)]
    middle, point, near, far = pages.at_bpp(curve, [0.02**0.5, 0.2, 0.42, 0.5])
    assert middle == pytest.approx(29.5)
    assert point == pytest.approx(31)
    assert near == pytest.approx(32 + np.log2(1.05))
    assert np.isnan(far)


def test_beta_is_found_for_a_rate():
    evaluated = {}
    for rate in (0.11, 0.5, 1.0):
        beta = rates.solve(lambda b: 0.03 * b**-0.44, rate, evaluated)
        assert 0.03 * beta**-0.44 == pytest.approx(rate, rel=0.03)
    assert len(evaluated) < 10


def test_beta_nearest_to_a_rate_out_of_reach():
    assert rates.solve(lambda b: 0.2, 5.0, {}) > 0


def test_groups_of_another_width_are_another_prior(tiny_prior):
    chained, independent = (cifar.regroup(tiny_prior, g, 16) for g in (6, 16))
    assert chained.digest != independent.digest
    assert chained.metadata["group_bits"] == 6 and independent.metadata["group_bits"] == 16
    assert independent.betas == tiny_prior.betas


@pytest.mark.parametrize("name", ["linear", "single"])
def test_linear_priors_have_no_network_and_encode(name, tmp_path, monkeypatch):
    few = dataclasses.replace(RECIPES["small"].settings, crops=12, merged=3)
    monkeypatch.setitem(RECIPES, "small", dataclasses.replace(RECIPES["small"], settings=few))
    monkeypatch.setattr(cifar, "LINEAR_BETAS", (0.01, 0.004))
    monkeypatch.setattr(cifar, "HELD_OUT", 2)
    np.save(tmp_path / "train.npy", busy_pictures(14, 32))
    cifar.learn_linear(tmp_path / "train.npy", min(4, cifar.CLASSES[name]), tmp_path / "p.npz", lambda line: None)
    prior = priors.load_file(tmp_path / "p.npz")
    assert prior.betas == [0.01, 0.004] and len(prior.architecture.layers) == 2
    assert prior.operating_point(0).classes == {"linear": 7, "single": 1}[name]
    regrouped = cifar.regroup(prior, 16, 16) if name == "single" else prior
    codec, picture = codecs.CombinerCodec("linear", "fast", prior=regrouped), busy_pictures(1, 32, seed=3)[0]
    (file,) = codec.encode([picture], 0.006, 1)
    assert psnr(codec.decode(file.data, 1), picture) > 15


def test_seconds_of_stages_inside_others_count_once(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(profile.time, "process_time", lambda: float(next(now)))
    clock = profile.Clock()
    inner = clock.timed("inner", lambda: None)
    clock.timed("outer", lambda: (inner(), inner()))()
    assert clock.spent == {"inner": 2.0, "outer": 3.0}


def page_with(part, folder):
    """A page that has a part, and something around it."""
    path = folder / "page.md"
    path.write_text(f"above\n<!-- {part} -->\nold\n<!-- end of {part} -->\nbelow\n")
    return path


def test_the_profile_has_a_row_for_every_stage(tmp_path):
    Image.fromarray(busy_pictures(1, 40)[0]).save(tmp_path / "photo.png")
    page = page_with("profile", tmp_path)
    profile.run([tmp_path / "photo.png"], page, ["32x32"], 0.02, 1, 1, lambda line: None)
    first, *lines, last = page.read_text().splitlines()
    rows = [line.split("|")[1].strip() for line in lines if "%" in line]
    assert rows == [*profile.ENCODE, profile.REST, *profile.DECODE, profile.REST]
    assert (first, last) == ("above", "below") and "old" not in lines


def test_a_page_without_the_part_is_an_error(tmp_path):
    with pytest.raises(FormatError, match="no part growth"):
        pages.put(page_with("profile", tmp_path), "growth", [])


def test_growth_knows_slopes_and_what_a_process_took(tmp_path):
    taken = growth.cost(["--help"], tmp_path)
    assert taken.seconds > 0 and taken.wall > 0 and 10 < taken.megabytes < 500
    with pytest.raises(subprocess.CalledProcessError):
        growth.cost(["info", "missing.cmb"], tmp_path)
    costs = [[growth.Cost(n**power * 1e-6, 1.0, 100.0) for power in (1, 0.5)] for n in (2**20, 2**22)]
    rows = [growth.Row(side, side, 0.01, 9 * side, tuple(own)) for side, own in zip((1024, 2048), costs, strict=True)]
    assert "1.00\n(encode) and 0.50 (decode)" in "\n".join(growth.page(rows, rows, 0.01, "fast", ""))
    assert shapes.cells(rows[1], rows[0]) == ["2048×2048", "18432", "100", "1.00", "100", "1.00"]
    growth.plot(tmp_path / "figures" / "growth.png", rows, rows)
    assert Image.open(tmp_path / "figures" / "growth.png").size[0] > 500


def test_goals_are_compared_with_a_beta_and_the_size_is_that_of_its_file(tmp_path, monkeypatch):
    Image.fromarray(busy_pictures(1, 40)[0]).save(tmp_path / "photo.png")
    asked = []

    def taken(arguments, folder):
        asked.append(arguments[-2:])
        (folder / "out.cmb").write_bytes(bytes(100 + len(asked)))
        return growth.Cost(10.0 * len(asked), 1.0, 300.0)

    monkeypatch.setattr(growth, "cost", taken)
    page = page_with("goals", tmp_path)
    growth.run_goals([tmp_path / "photo.png"], page, ["32x32"], 0.01, "fast", 1, 30.0, "", lambda line: None)
    assert asked == [["--beta", "0.01"], ["--target-size", "101"], ["--target-psnr", "30.0"]]
    assert "| 32×32 | `--target-psnr 30.0` | 103 | 30 | 3.00 | 300 |" in page.read_text()


def test_the_page_of_ranks_counts_pictures_and_their_list(tmp_path):
    photographs = np.stack(busy_pictures(2, 32))
    ranks.cut(photographs, tmp_path / ranks.FOLDER, count=7, side=16)
    assert np.asarray(Image.open(tmp_path / ranks.FOLDER / "000003.png")).tolist() == photographs[1, :16, 16:].tolist()
    with pytest.raises(FormatError, match="more than there are"):
        ranks.cut(photographs, tmp_path / "more", count=9, side=16)
    listed = ranks.list_of(tmp_path)
    assert 100 < listed.held <= listed.most < 10_000 and listed.microseconds > 0
    assert ranks.used_by(os.getpid()).megabytes > 10 and ranks.used_by(2**30) is None
    used = (ranks.Used(30.0, 300.0), ranks.Used(40.0, 310.0))
    runs = [ranks.Run(1, 20_000, 100.0, used[:1]), ranks.Run(2, 20_000, 50.0, used)]
    text = "\n".join(ranks.page(runs, listed, 8, "fast", ""))
    assert "| 2 | 50.0 | 400.0 | 3.50 | 30.0 to 40.0 | 310 |" in text
    assert "100000 such pictures take 6 minutes of processor" in text


def test_mosaics_have_the_size_that_is_asked_for():
    photographs = busy_pictures(3, 64)
    for width, height in ((32, 32), (1500, 700)):
        assert growth.mosaic(photographs, width, height).shape == (height, width, 3)


def test_tables_leave_cells_without_a_value_empty():
    row = pages.at_rates("x", 3, [(0.1, 20.0), (0.2, 23.0)], [0.1, 0.9])
    assert report.table(["a", "n", "0.1", "0.9"], [row])[-1] == "| x | 3 | 20.00 |  |"


def test_published_curves_pass_through_known_points():
    assert pages.at_bpp(curves.published_curve("kodak", "BPG 4:4:4"), [0.22])[0] == pytest.approx(29.85, abs=0.02)
    assert pages.at_bpp(curves.published_curve("cifar10", cifar_page.LINE), [2.28])[0] == pytest.approx(33.61)


def test_drift_measures_a_version_of_numpy_once(monkeypatch):
    versions = {"own": "2.4.6", "oldest": "1.26.0", "newest": "2.4.6"}
    monkeypatch.setattr(drift, "version_of", versions.get)
    assert drift.by_version(list(versions)) == ({"2.4.6": "own", "1.26.0": "oldest"}, ["2.4.6"])


def test_published_bd_rates_are_those_of_the_anchors():
    vvc, hm, bpg = (curves.published_curve("kodak", name) for name in kodak.ANCHORS)
    assert kodak.bd_cell(vvc, vvc) == "+0.0 %"
    assert curves.bd_rate(vvc, bpg, kodak.COMPARED) == pytest.approx(30, abs=2)
    assert curves.bd_rate(vvc, hm, kodak.COMPARED) == pytest.approx(31, abs=2)
    for name, expected in (("RECOMBINER", 64), ("C3", 10), ("Cool-chic 5.0.1", -3)):
        curve = curves.published_curve("kodak", name)
        assert curves.bd_rate(vvc, curve, kodak.COMPARED) == pytest.approx(expected, abs=2)


def test_a_bd_rate_over_a_part_of_the_range_names_it():
    vvc = curves.published_curve("kodak", "VVC (VTM-18)")
    assert kodak.bd_cell(vvc, curves.published_curve("kodak", "VC-INR")).endswith(" % (28.0–32.2)")
    assert kodak.bd_cell(vvc, [(0.1, 20.0), (0.2, 22.0)]) == kodak.bd_cell(vvc, [(0.1, 30.0)]) == ""


def test_the_kodak_page_compares_measured_and_published_curves(tmp_path):
    points = [measure.Point(s, f"{s}", 24, 1, s, q, 0.9, 1, 1) for s, q in ((0.1, 27.0), (0.3, 31.0), (1.0, 36.0))]
    kodak.write(tmp_path, {"All": {"heic 4:4:4": points}}, [])
    page = (tmp_path / "kodak.md").read_text()
    assert "| codec | against VVC (VTM-18) | against HM (HEVC) | against BPG 4:4:4 |" in page
    assert "| must reach | 24 | 28.05 |" in page
    row = re.search(r"^\| heic 4:4:4( \| [+-]\d+\.\d %( \([\d.–]+\))?){3} \|$", page, re.M)
    assert row and "| ELIC, published |" in page


@pytest.fixture
def experiment(tmp_path, tiny_prior, monkeypatch):
    """Settings of the paper's experiments on two small pictures, with the tiny prior for every family."""
    np.save(tmp_path / "test.npy", smooth_pictures(3))
    for i in (3, 8):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(smooth_pictures(1, 40, seed=i)[0]).save(tmp_path / "photos" / f"kodim{i:02}.png")
    monkeypatch.setattr(priors, "load", lambda name: tiny_prior)
    return paper.Settings(tmp_path, tmp_path / "out", count=2, betas=(0.02, 0.005), effort="fast", device="cpu")


def test_table1_sets_our_seconds_beside_the_papers(experiment):
    said = []
    paper.table1(experiment, said.append)
    page = (experiment.out / "table1.md").read_text()
    assert "The first 2 CIFAR-10 test images" in page and "scaled from 2 measured" in page and "Measured 20" in page
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith(("| 0.91", "| 1.39"))]
    assert [row[3].strip() for row in rows] == ["~7 min", "~7 min"] and rows[1][5].strip() == "~9 min"
    posterior, coding, total = (float(rows[0][k].split()[0]) for k in (4, 6, 8))
    assert posterior > 0 < coding and posterior + coding == pytest.approx(total, abs=0.011)
    assert len(said) == 2
    paper.table1(experiment, pytest.fail)  # a second run measures nothing


def test_table2_names_its_pictures(experiment):
    settings = dataclasses.replace(experiment, folder=experiment.folder / "photos", count=None)
    paper.table2(settings, lambda line: None, settings.folder)
    page = (settings.out / "table2.md").read_text()
    assert "2 Kodak pictures, each on its own: kodim03, kodim08" in page and "348 ms" in page


def test_the_papers_figures_are_data_with_a_source():
    data = paper.published()
    assert "arXiv:2305.19185" in data["source"]
    for part in (data["cifar10"], data["kodak"]):
        for row in part["rows"]:
            assert row["posterior_minutes"] + row["coding_minutes"] == row["total_minutes"]


def test_the_pipeline_is_the_same_drawing_every_time():
    drawn = pipeline.pipeline()
    assert drawn == pipeline.pipeline() and b"<svg" in drawn


def test_graphics_page_has_a_row_for_every_picture_and_must(tmp_path):
    """One plain picture as some codecs store it: exact by ours, ten times as large by another."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    drawing = drawings.Drawing("plots", "bars", pixels)
    exact = graphics_page.File(0.003, 100, 0.0, graphics_page.EXACT, "lossless WebP inside")
    network = graphics_page.File(0.003, 900, 0.5, 30.0, graphics_page.INR)
    other = graphics_page.File(-1, 1000, 0.0, graphics_page.EXACT, "")
    files = {"auto": [exact], "lossless": [exact], "inr": [network]}
    files |= {name: [other] for name in ("PNG", "WebP", "WebP, lossless")}
    one = graphics_page.Measured(drawing, files)
    graphics_page.write(tmp_path / "page.md", [one], (0.003,), None, ["JPEG XL: not installed"])
    text = (tmp_path / "page.md").read_text()
    assert "| plots, bars, 8×8 | lossless WebP inside | 100 | exact | 900 | 30.0 | 1,000 | 1,000 |" in text
    assert "| its bytes over lossless WebP's | ≤ 1.03 | 0.100 |" in text
    assert "| plots | 0.003 | 1 / 0 / 0 / 0 |" in text
    assert "| plots | 0.003 | 10.00 |" in text  # bytes at equal PSNR
    assert text.endswith("JPEG XL: not installed\n")


def test_graphics_that_were_never_measured_leave_the_page_as_it_was(tmp_path):
    page = tmp_path / "graphics.md"
    page.write_text("as it was")
    how = ["--photos", str(tmp_path), "--out", str(tmp_path), "--work", str(tmp_path / "none.json"), "--kept"]
    run = CliRunner().invoke(main, ["graphics", *how, "--kind", "pixel art"])
    assert isinstance(run.exception, MissingError)
    assert "without --kept" in str(run.exception)
    assert page.read_text() == "as it was"


@pytest.mark.parametrize("kind", ["terminals", "pixel art", "photographs with captions"])
def test_pictures_are_drawn_the_same_every_time(kind):
    photographs = [Image.fromarray(picture) for picture in busy_pictures(5, 64)]
    first, again = (list(drawings.drawings(photographs, [kind])) for _ in range(2))
    assert len(first) == 5
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_photographs_are_networks_alone_by_estimates(tmp_path):
    """Two crops at two betas; nothing is fitted."""
    for name in ("hippos", "lighthouse"):
        with Image.open(ROOT / "assets" / "samples" / f"{name}.png") as image:
            image.convert("RGB").crop((200, 100, 360, 228)).save(tmp_path / f"{name}.png")
    page = tmp_path / "page.md"
    page.write_text("<!-- photographs -->\n<!-- end of photographs -->\n")
    how = [str(tmp_path), "--out", str(page), "--betas", "0.003,0.00025", "--encode", "0"]
    run = CliRunner().invoke(main, ["photographs", *how])
    assert run.exit_code == 0, run.output
    assert "| 0.003 | 2 of 2 |" in page.read_text() and "| 0.00025 | 2 of 2 |" in page.read_text()


def test_regions_of_a_mixed_picture_have_kinds_of_their_own(tiny_photo_prior, monkeypatch):
    """A drawing beside noise: both kinds are taken, and together they are better than either."""
    monkeypatch.setattr(priors, "default", lambda *_: tiny_photo_prior)
    picture = np.full((64, 128, 3), 240, np.uint8)
    picture[10:50:4, 5:60] = (20, 60, 200)
    picture[:, 64:] = busy_pictures(1, 128)[0][:64, 64:]
    found = regions.measured(picture, 0.01)
    assert found.regions == 2
    assert found.of_network == 1
    assert found.by_region < min(found.network, found.without)
    assert found.stored <= min(found.network, found.without)
