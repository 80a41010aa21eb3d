import dataclasses
import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from combiner_codec import FormatError, cli
from combiner_codec.bench import (
    cifar,
    codecs,
    command,
    curves,
    figures,
    measure,
    paper,
    pictures,
    quality,
    rates,
    report,
)
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
        return [codecs.Coded(data, {"kept": setting}) for data in packed]

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


def test_a_monotone_cubic_goes_through_its_points_without_overshoot():
    x, y = np.array([0.0, 1.0, 2.0, 5.0]), np.array([0.0, 0.1, 3.0, 3.1])
    assert curves.pchip(x, y, x) == pytest.approx(y)
    assert (np.diff(curves.pchip(x, y, np.linspace(0, 5, 200))) >= 0).all()


def test_quality_is_interpolated_in_log_bpp_and_not_far_beyond_the_ends():
    curve = [(0.4, 32.0), (0.1, 28.0), (0.2, 31.0)]
    middle, point, near, far = curves.at_bpp(curve, [0.02**0.5, 0.2, 0.42, 0.5])
    assert middle == pytest.approx(29.5)
    assert point == pytest.approx(31)
    assert near == pytest.approx(32 + np.log2(1.05))
    assert np.isnan(far)


def test_published_curves_are_data_with_sources():
    for name in ("kodak", "cifar10"):
        for entry in curves.published(name):
            assert entry["source"] and curves.monotone(entry["points"]), entry["name"]
    assert curves.at_bpp(curves.published_curve("kodak", "BPG 4:4:4"), [0.22])[0] == pytest.approx(29.85, abs=0.02)
    assert curves.at_bpp(curves.published_curve("cifar10", cifar.LINE), [2.28])[0] == pytest.approx(33.61)


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


def test_a_second_run_goes_on_where_the_first_was_stopped(tmp_path):
    class Stop(Exception):
        pass

    def stop(line, seen=[]):  # noqa: B006
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


@pytest.mark.parametrize("name", list(codecs.OTHERS))
def test_other_codecs_give_more_quality_for_more_bytes(name):
    codec = codecs.OTHERS[name]
    if not codec.library():
        pytest.skip(f"{name} is not installed")
    group = groups(1, side=64)[0]
    low, high = (measure.run(codec, s, group) for s in (codec.settings[1], codec.settings[-2]))
    assert low["bytes"][0] < high["bytes"][0] and low["psnr"][0] < high["psnr"][0]


def test_the_digest_of_the_code_ignores_comments():
    assert len(codecs.code_digest()) == 8


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
    plan = command.Plan([folder], others=["jpeg"], anchor="vvc")
    with pytest.raises(FormatError, match="no curve named vvc"):
        command.bench(plan, lambda line: None)


def test_tables_leave_cells_without_a_value_empty():
    row = report.at_rates("x", 3, [(0.1, 20.0), (0.2, 23.0)], [0.1, 0.9])
    assert report.table(["a", "n", "0.1", "0.9"], [row])[-1] == "| x | 3 | 20.00 |  |"


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
    for path, missing, text in (("rd.doc", False, "cannot draw"), ("rd.svg", True, r"\[bench\]")):
        if missing:
            monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(FormatError, match=text):
            command.bench(dataclasses.replace(plan, plot=folder / path), lambda line: pytest.fail(line))


@pytest.fixture
def experiment(tmp_path, tiny_prior, monkeypatch):
    """Settings of the paper's experiments on two small pictures, with the tiny prior for every family."""
    np.save(tmp_path / "test.npy", smooth_pictures(3))
    for i in (3, 8):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(smooth_pictures(1, 40, seed=i)[0]).save(tmp_path / "photos" / f"kodim{i:02}.png")
    monkeypatch.setattr(codecs, "default_prior", lambda width, height: tiny_prior)
    monkeypatch.setattr(paper.priors, "load", lambda name: tiny_prior)
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


def test_the_ablation_counts_steps_at_equal_rate(experiment):
    settings = dataclasses.replace(experiment, effort="normal")
    paper.finetune(settings, lambda line: None, experiment.folder / "photos", ["small"])
    page = (settings.out / "ablation-finetune.md").read_text()
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| small")]
    assert [row[3] for row in rows] == ["45", "6", "0"]
    assert len({row[4] for row in rows}) == 1 and rows[0][6] == "" and rows[2][6][0] in "+-"
    assert "from 30,260 to 2,184 steps" in page and "the first 2 CIFAR-10 test images, beta 0.02" in page
    assert "crop of kodim03.png, crop of kodim08.png" in paper.subject("photo", settings, settings.folder / "photos")[2]


def test_the_papers_figures_are_data_with_a_source():
    data = paper.published()
    assert "arXiv:2305.19185" in data["source"]
    for part in (data["cifar10"], data["kodak"]):
        for row in part["rows"]:
            assert row["posterior_minutes"] + row["coding_minutes"] == row["total_minutes"]


def test_the_pipeline_is_the_same_drawing_every_time():
    drawn = figures.pipeline()
    assert drawn == figures.pipeline() and b"<svg" in drawn
