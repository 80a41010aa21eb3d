"""The format holds still: golden files, their log, and what is said about files that cannot be read."""

import numpy as np
import pytest

import combiner_codec
import plain_decoder as plain
from combiner_codec import FormatError, decoder
from combiner_codec.format import header
from experiments.reliability import golden
from test_format import assert_pixels_agree, plainly_read

FILES = golden.manifest()["files"]


@pytest.mark.parametrize("name", FILES)
def test_golden_files_decode_as_ever(name):
    assert golden.check(name, FILES[name]) == []


def test_golden_files_are_of_many_kinds():
    contents = [decoder.parse(*golden.read(name)[:2]) for name in FILES]
    headers = [c.header for c in contents]
    assert len(FILES) >= 8
    assert {h.prior for h in headers} == {header.NO_PRIOR, 1, 2, 3, header.CUSTOM}
    assert {(1, 1), (7, 5), (32, 32), (64, 48), (331, 17)} <= {(h.width, h.height) for h in headers}
    assert {h.mode for h in headers} == {"L", "RGB", "RGBA"}
    assert {h.channels for h in headers} == {header.RGB, header.GREY, header.GREY_AS_RGB}
    assert any(h.axes for h in headers)
    assert any(h.point == header.ONE_COLOUR and h.alpha is None for h in headers)
    assert len({h.index_bits for h in headers}) > 2 and max(h.seed for h in headers)
    assert max(h.width * h.height for h in headers) > decoder.EXACT_PIXELS


@pytest.mark.parametrize("name", FILES)
def test_the_decoder_written_from_the_page_reads_them(name):
    data, prior, pixels = golden.read(name)
    theirs = decoder.parse(data, prior)
    ours = plainly_read(data, theirs.prior)
    assert (ours.header.height, ours.header.width) == pixels.shape[:2]
    assert ours.header.seed == theirs.header.seed
    blocks = ours.colour.indices + (ours.alpha.indices if ours.alpha else [])
    indices = np.array([index for of_block in blocks for index in of_block], "<i8")
    assert golden.sha(indices) == FILES[name]["indices"]
    assert_pixels_agree(plain.pixels(ours), pixels)


@pytest.mark.parametrize("damage", ["file", "indices", "weights", "pixels"])
def test_any_change_is_noticed(damage):
    assert golden.check("7x5", FILES["7x5"] | {damage: "0" * 64})


def test_pixels_of_large_pictures_may_move_one_step_in_few_samples(monkeypatch):
    data, prior, pixels = golden.read("photograph")
    monkeypatch.setattr(golden, "read", lambda name: (data, prior, changed))
    for count, steps, fine in ((5, 1, True), (5, 2, False), (60, 1, False)):
        changed = pixels.copy()
        changed.reshape(-1)[:count] ^= steps
        assert (golden.check("photograph", FILES["photograph"]) == []) == fine


def test_the_log_knows_the_golden_files():
    assert golden.logged()[0] == golden.identity(FILES), "golden files have changed: make golden WHY=reason"


def test_a_line_comes_first_in_the_log(monkeypatch, tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(golden.LOG.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(golden, "LOG", copy)
    before = golden.logged()
    golden.log("- `0123456789ab`, 2026-01-01: because")
    assert golden.logged() == ["0123456789ab", *before]


def test_no_golden_file_is_made_anew_from_1_0_on(monkeypatch):
    monkeypatch.setattr(combiner_codec, "__version__", "1.0.0")
    with pytest.raises(SystemExit, match="frozen"):
        golden.write("because")


def test_a_reason_is_asked_for():
    with pytest.raises(SystemExit, match="say why"):
        golden.write(" ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"\xf6" + data[1:], "version 2 is not supported.*update combiner"),
        (lambda data: data[:1] + bytes([data[1] & 15 | 0xE0]) + data[2:], "unknown prior 14.*update combiner"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "checksum mismatch.*get the file again"),
    ],
)
def test_what_cannot_be_read_is_refused_with_advice(change, message):
    data, prior, _ = golden.read("32x32")
    with pytest.raises(FormatError, match=message):
        decoder.decode_array(change(data), prior)
