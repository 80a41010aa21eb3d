"""The benchmarks of small pictures and of speed, on one shipped sample each."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("matplotlib")

from combiner_codec.format.header import MAGIC
from conftest import busy_pictures
from experiments import thumbnails, web
from experiments.__main__ import main

SAMPLE = Path(__file__).parents[1] / "assets" / "samples" / "hippos-64x48.png"


def page(tmp_path, command, *options) -> list[list[str]]:
    """Rows of the table that a benchmark writes."""
    done = CliRunner().invoke(main, [command, str(SAMPLE), "--out", str(tmp_path), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    lines = (tmp_path / f"{command}.md").read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def test_thumbnails_leave_cells_empty_that_a_format_cannot_fill(tmp_path, monkeypatch):
    monkeypatch.setattr(thumbnails, "SIDES", (32,))
    monkeypatch.setattr(thumbnails, "BUDGETS", (40, 2000))
    monkeypatch.setattr(thumbnails, "SHOWN", (32, 40))
    rows = {row[1]: row[2:] for row in page(tmp_path, "thumbnails", "--effort", "fast")}
    low, high = ([float(number) for number in cell.split(",")] for cell in rows["combiner"][:2])
    assert high[0] > low[0] + 10 and low[1] < high[1] < 1
    assert rows["WebP"][0] == "" and float(rows["WebP"][1].split(",")[0]) > 30 and int(rows["WebP"][2]) > 40
    assert int(rows["AVIF"][2]) - int(rows[thumbnails.MINIMAL][2]) == thumbnails.SAVED
    assert (tmp_path / "thumbnails.png").stat().st_size > 1000


def test_priors_for_the_web_lose_little_and_download_less(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "BUDGETS", (100,))
    rows = page(tmp_path, "web", "--effort", "fast", "--threads", "1", "--work", str(tmp_path))
    photo, _, ours, nano, smaller = [(float(size.removesuffix(" kB")), float(decibels)) for _, size, decibels in rows]
    assert photo[0] > 8 * ours[0] > 12 * smaller[0] > 36 * nano[0]
    assert ours[1] > photo[1] - 1  # of one picture with `fast`


def test_speed_gives_each_codecs_time_as_a_multiple_of_the_others(tmp_path):
    table = page(tmp_path, "speed", "--rounds", "1", "--effort", "fast", "--threads", "1")
    rows = {row[1]: row for row in table}
    ours, webp = rows["combiner fast"], rows["webp"]
    assert webp[4] == webp[4 + (len(webp) - 3) // 2] == "1"
    assert float(ours[4]) == pytest.approx(float(ours[3]) / float(webp[3]), rel=0.02)
    assert abs(int(webp[2]) - int(ours[2])) < 0.3 * int(ours[2])
    pace = table.index(["codec", "s a megapixel"])
    told, _, decoded = map(float, table[pace - 1][1:])  # --help and decode, as commands
    assert told > 0 and decoded > 0


def test_a_gpus_page_can_be_tried_on_the_processor(tmp_path):
    for name in ("cifar", "kodak"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "cifar" / "test.npy", busy_pictures(1, 32))
    Image.fromarray(busy_pictures(1, 24)[0]).save(tmp_path / "kodak" / "one.png")
    where = ["--out", str(tmp_path), "--archive", str(tmp_path / "all.zip"), "--device", "cpu"]
    result = CliRunner().invoke(main, ["cuda", str(tmp_path / "cifar"), str(tmp_path / "kodak"), *where])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "cuda.md").read_text(encoding="utf-8")
    assert "CIFAR-10, 1 together" in text and "| one.png |" in text and "aten::" in text
    assert text.count("| +0.000 % | 1 of 1 |") == 2  # the processor beside itself
    assert text.index("| +0.000 %") < text.index("| goal |")
    with zipfile.ZipFile(tmp_path / "all.zip") as packed:
        files = [name for name in packed.namelist() if name.endswith(".cmb")]
        assert len(files) == 2 + 2
        assert all(packed.read(name).startswith(MAGIC) for name in files)
