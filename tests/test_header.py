import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_codec.errors import FormatError
from combiner_codec.format import header as file
from combiner_codec.format.header import CUSTOM, Header

DIGEST = hashlib.sha256(b"prior").digest()
of_any_network = {
    "prior": st.integers(1, CUSTOM - 1),
    "index_bits": st.sampled_from(file.INDEX_BITS),
    "width": st.just(32) | st.integers(1, file.MAX_SIDE),
    "height": st.just(32) | st.integers(1, file.MAX_SIDE),
}
without_axes = {
    "point": st.integers(0, 31).filter(lambda point: point != file.EXACT),
    "channels": st.sampled_from([file.RGB, file.GREY, file.GREY_AS_RGB]),
}
of_networks = st.builds(
    Header,
    **of_any_network,
    **without_axes,
    seed=st.just(0) | st.integers(0, file.MAX_SEED),
    alpha=st.none() | st.integers(0, 31),
)
part_of_axes = st.integers(-128, 127)
of_turned_networks = st.builds(
    Header,
    **of_any_network,
    point=st.integers(0, file.POINTS - 1),
    alpha=st.none() | st.integers(0, 31),
    axes=st.tuples(part_of_axes, part_of_axes, part_of_axes),
)
without_loss = st.builds(
    Header,
    prior=st.just(file.NO_PRIOR),
    point=st.just(file.EXACT),
    index_bits=st.just(file.USUAL_BITS[0]),
    width=st.integers(1, file.MAX_SIDE).filter(lambda side: side != 32),
    height=st.integers(1, file.MAX_SIDE).filter(lambda side: side != 32),
    channels=st.sampled_from([file.RGB, file.GREY]),
    alpha=st.none() | st.just(file.EXACT),
)
below_layers = st.builds(Header, **of_any_network, **without_axes, layer=st.just(True))
headers = of_networks | of_turned_networks | without_loss | below_layers


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
    """One for the magic, two for the rest, one for the checksum; more where size, index width or seed are unusual."""
    for header, text in [
        (Header(1, 0, 16, 32, 32), "f511c0"),
        (Header(3, 5, 18, 32, 24, channels=file.GREY), "f5364517"),
        (Header(1, 0, 14, 200, 32), "f51080c701"),
        (Header(1, 0, 20, 32, 32), "f513c01400"),
        (Header(1, 0, 16, 32, 32, seed=3), "f513c01003"),
        (Header(3, 5, 16, 32, 32, channels=file.GREY_AS_RGB, alpha=7, sharpness=2), "f539e547"),
        (Header(3, 5, 16, 32, 32, layer=True), "f531e53e"),
        (Header(CUSTOM, 0, 16, 32, 32, prior_hash=b"abcd"), "f5f1c061626364"),
        (Header(3, 5, 16, 32, 32, axes=(1, -2, 127), alpha=7), "f53de501fe7f07"),
    ]:
        assert file.write(header, 32, b"", DIGEST).hex() == text + crc(text)


def crc(text):
    return file.checksum(bytes.fromhex(text), DIGEST, short=True).hex()


@settings(derandomize=True, deadline=None)
@given(headers, st.binary(min_size=1, max_size=20) | st.binary(min_size=300, max_size=320))
def test_every_flipped_bit_is_refused(header, payload):
    data = file.write(header, 32, payload, DIGEST)
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
        (bytes.fromhex("f611c000"), "version 2 is not supported"),
        (bytes.fromhex("fc11c000"), "version 8 is not supported"),
        (bytes.fromhex("fd11c000"), "not a combiner file"),
        (bytes.fromhex("f511"), "truncated"),
        (bytes.fromhex("f51100ffffffff000000"), "out of range"),
        (bytes.fromhex("f51100800000000000"), "shortest"),
        (bytes.fromhex("f5110000"), "truncated"),
        (bytes.fromhex("f51ddf0000000000"), "out of range"),  # axes of a plane of one colour
        (bytes.fromhex("f51dc0000000"), "truncated"),  # in the axes
        (bytes.fromhex("f513c0100000"), "out of range"),  # a seed of 0 and a usual index width, written
        (bytes.fromhex("f513c0110100"), "out of range"),  # an odd index width
        (bytes.fromhex("f5f1c0616263"), "truncated"),
        (bytes.fromhex("f511e55e00"), "out of range"),  # a sharpness of 2 beside an exact alpha
        (bytes.fromhex("f5003e00003e00"), "out of range"),  # a layer over an exact plane
    ],
)
def test_bad_headers_are_explained(data, message):
    with pytest.raises(FormatError, match=message):
        parse(data)
