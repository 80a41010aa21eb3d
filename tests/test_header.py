import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_codec.errors import FormatError
from combiner_codec.format import header as file
from combiner_codec.format.header import CUSTOM, Header

DIGEST = hashlib.sha256(b"prior").digest()
headers = st.builds(
    Header,
    prior=st.integers(0, 254),
    point=st.integers(0, 31),
    index_bits=st.sampled_from(file.INDEX_BITS),
    width=st.integers(1, file.MAX_SIDE),
    height=st.integers(1, file.MAX_SIDE),
    seed=st.integers(0, file.MAX_SEED),
)


def parse(data):
    header, start = file.read(data)
    return header.sized(32), file.payload(data, start, DIGEST)


@given(headers, st.binary(max_size=40))
def test_what_is_written_is_read(header, payload):
    assert parse(file.write(header, 32, payload, DIGEST)) == (header, payload)


def test_a_custom_prior_is_named_by_its_hash():
    header = Header(CUSTOM, 3, 16, 7, 9, 5, b"abcd")
    assert parse(file.write(header, 32, b"xy", DIGEST)) == (header, b"xy")


def test_bytes_beside_the_indices():
    assert file.write(Header(1, 0, 16, 32, 32), 32, b"", DIGEST).hex() == "cb4d110180" + crc("cb4d110180")
    assert len(file.write(Header(1, 0, 16, 32, 32), 32, b"", DIGEST)) == 7


def crc(text):
    return file.checksum(bytes.fromhex(text), DIGEST).to_bytes(2, "little").hex()


@given(headers, st.binary(min_size=1, max_size=20))
def test_every_prefix_and_every_flipped_bit_is_refused(header, payload):
    data = file.write(header, 32, payload, DIGEST)
    for end in range(len(data)):
        with pytest.raises(FormatError):
            parse(data[:end])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            parse(bytes(damaged))


def test_another_prior_is_noticed():
    data = file.write(Header(1, 0, 16, 32, 32), 32, b"abc", DIGEST)
    _, start = file.read(data)
    with pytest.raises(FormatError, match="checksum"):
        file.payload(data, start, hashlib.sha256(b"other").digest())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated"),
        (b"\x89PNG\r\n\x1a\n and more", "not a combiner file"),
        (bytes.fromhex("cb4df1018000000000"), "version 15"),
        (bytes.fromhex("cb4d100180ffffffff00000000"), "out of range"),
        (bytes.fromhex("cb4d1001808000000000"), "shortest"),
    ],
)
def test_bad_headers_are_explained(data, message):
    with pytest.raises(FormatError, match=message):
        parse(data)
