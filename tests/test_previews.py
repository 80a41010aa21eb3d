"""`combiner preview`: a line for each picture, for builds of web pages."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import combiner_codec
from combiner_codec.picture.data_url import data_url, from_data_url
from conftest import smooth_pictures
from test_cli import run

WIDE = smooth_pictures(1, 200)[0][:100]  # (100, 200, 3)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """What the command prints about good, bad, repeated and missing pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(WIDE).save(folder / "a.png")
    (folder / "b.png").write_text("just words")
    Image.fromarray(np.dstack([WIDE[:20, :20], WIDE[:20, :20, 0]])).save(folder / "c.png")
    names = [folder, folder / "a.png", folder / "none.png"]
    done = run("preview", *names, "--json", "--css", "--inline", "--target-size", "80", "--threads", "1")
    assert done.returncode == 1 and b"2 of 5 inputs failed" in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_input_has_its_line_in_order(lines):
    assert [line["file"].rpartition("/")[2] for line in lines] == ["a.png", "b.png", "c.png", "a.png", "none.png"]
    assert ["error" in line for line in lines] == [False, True, False, False, True]
    assert "not a picture" in lines[1]["error"] and lines[0] == lines[3]


def test_a_line_has_all_that_a_page_may_want(lines):
    for line, size, shown in ((lines[0], (200, 100), (64, 32)), (lines[2], (20, 20), (20, 20))):
        assert (line["width"], line["height"]) == size
        assert len(from_data_url(line["cmb"])) <= 80
        picture = combiner_codec.decode(line["cmb"])
        assert picture.size == shown
        assert re.fullmatch("#[0-9a-f]{6}", line["color"]) and f";color={line['color'][1:]};" in line["cmb"]
        assert re.fullmatch(r"linear-gradient\((90|180)deg(,#[0-9a-f]{6}){4}\)", line["css"])
    mean = np.asarray(combiner_codec.decode(lines[0]["cmb"])).mean((0, 1))
    assert lines[0]["color"] == "#{:02x}{:02x}{:02x}".format(*np.rint(mean).astype(int))
    with Image.open(io.BytesIO(base64.b64decode(lines[0]["png"].partition(",")[2]))) as small:
        assert (small.format, small.size, small.mode) == ("PNG", (32, 16), "RGB")


def test_colours_of_urls_are_read_over():
    data = b"\xf5 and more"
    assert from_data_url(data_url(data, "#102030")) == from_data_url(data_url(data)) == data
    with pytest.raises(combiner_codec.FormatError, match="of another kind"):
        from_data_url("data:image/x-combiner;charset=utf-8;base64,9Q==")


def test_previews_have_the_prior_of_the_package_where_it_serves():
    small, large = (combiner_codec.preview(WIDE, size, effort="fast") for size in (60, 400))
    assert [data[1] >> 4 for data in (small, large)] == [5, 3]
