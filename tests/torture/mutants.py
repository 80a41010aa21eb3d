"""Mutants of .cmb files. They know the fields of FORMAT.md, so that many get as far as the pixels."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

import plain_decoder as plain

CHECKSUM_IS_RIGHT = 0.93  # share of the mutants; of the others nearly all are refused by it
COMPLETED = 0.75  # share whose payload is made as long as the changed header asks
SIDES = (1, 2, 7, 15, 16, 17, 24, 33)  # pixels, of most pictures
ABSURD_SIDES = (255, 2**14, 2**20, 2**20 + 1, 2**35)
LARGE = (136, 121)  # just above the 16384 pixels from which a picture may be modulated
LARGE_SHARE = 0.002
USUAL_SEEDS = (0, 1, 2**31, 2**62, 2**63 - 1, 2**63, 2**64)
LAYER = 1 << 5 | plain.EXACT  # in the place of alpha's point and sharpness
DRAWN_BITS = 6000  # of random payloads; what needs more stays cut off


@dataclass(frozen=True)
class Parts:
    """A file taken apart. Optional fields are as they are spelled, empty where they do not stand."""

    magic: bytes
    prior: int
    channels: int
    usual: int  # flags of height and width
    coder: int
    alpha_flag: int
    point: int
    prior_hash: bytes
    width: bytes
    height: bytes
    index_bits: bytes
    seed: bytes
    axes: bytes
    alpha: bytes  # its point and sharpness
    payload: bytes

    def body(self) -> bytes:
        """The file without its checksum."""
        byte1 = self.prior << 4 | self.channels << 2 | self.coder
        byte2 = self.usual << 6 | self.alpha_flag << 5 | self.point
        fields = [self.prior_hash, self.width, self.height, self.index_bits, self.seed, self.axes, self.alpha]
        return b"".join([self.magic, bytes([byte1, byte2]), *fields, self.payload])


def apart(data: bytes, priors: Mapping[int, bytes]) -> Parts:
    """The parts of a valid file."""
    start = plain.read_header(data, priors).start
    byte1, byte2 = data[1:3]
    rest = plain.Fields(data)
    rest.position = 3

    def stands(condition, read):
        before = rest.position
        if condition:
            read()
        return data[before : rest.position]

    parts = Parts(
        magic=data[:1],
        prior=byte1 >> 4,
        channels=byte1 >> 2 & 3,
        usual=byte2 >> 6,
        coder=byte1 & 3,
        alpha_flag=byte2 >> 5 & 1,
        point=byte2 & 31,
        prior_hash=stands(byte1 >> 4 == plain.CUSTOM, lambda: [rest.byte() for _ in range(4)]),
        width=stands(not byte2 & 64, lambda: rest.varint(2**20)),
        height=stands(not byte2 & 128, lambda: rest.varint(2**20)),
        index_bits=stands(byte1 & 3 == 3, rest.byte),
        seed=stands(byte1 & 3 == 3, lambda: rest.varint(2**63)),
        axes=stands(byte1 >> 2 & 3 == 3, lambda: [rest.byte() for _ in range(3)]),
        alpha=stands(byte2 & 32, rest.byte),
        payload=data[start : -plain.checksum_size(len(data))],
    )
    assert rest.position == start
    return parts


def varint(value: int) -> bytes:
    """Section 2: the shortest form."""
    out = []
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


class Mutator:
    """Draws mutants of some files, the same for a seed every time."""

    def __init__(self, files: Sequence[Parts], priors: Mapping[int, bytes], seed: int):
        self.priors = priors
        self.parts = files
        self.rng = np.random.default_rng(seed)
        self.changes: list[Callable[[Parts], Parts]] = [
            self.other_prior, self.other_channels, self.other_coder,
            self.other_point, self.other_alpha, self.other_payload, self.flipped_bits, self.spliced,
            self.odd_spelling, self.other_magic,
        ]  # fmt: skip

    def draw(self, count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield self.mutant()

    def mutant(self) -> bytes:
        parts = self.one_of(self.parts)
        if self.chance(LARGE_SHARE):
            parts = self.large(parts)
        else:
            if self.chance(0.7 if parts.prior else 0.1):  # an exact picture says its size twice
                parts = self.other_size(parts)
            for _ in range(self.rng.integers(1, 4)):
                parts = self.one_of(self.changes)(parts)
        if self.chance(COMPLETED):
            parts = self.completed(parts)
        if self.chance(0.1):
            parts = self.other_end(parts)
        body = parts.body()
        if self.chance(0.05):
            body = self.edited(body)
        return body + self.checksum(parts, body)

    def checksum(self, parts: Parts, body: bytes) -> bytes:
        """A right one as a rule."""
        known = parts.prior in self.priors or parts.prior == plain.NO_PRIOR
        if not known or not self.chance(CHECKSUM_IS_RIGHT):
            return self.rng.bytes(int(self.rng.integers(1, 3)))
        digest = plain.opened(self.priors[parts.prior]).digest if parts.prior else b""
        return plain.checksum(digest + body, 1 if len(body) < 256 else 2)

    def one_of(self, things: Sequence):
        return things[self.rng.integers(len(things))]

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    # Changes of the header

    def other_magic(self, parts: Parts) -> Parts:
        if self.chance(0.8):  # a wrong one ends everything
            return parts
        return replace(parts, magic=self.one_of([b"\xf6", b"\xfc", b"\xfd", b"\xf4", b"\x89", b""]))

    def other_prior(self, parts: Parts) -> Parts:
        number = int(self.one_of(list(self.priors))) if self.chance(0.9) else int(self.rng.integers(16))
        prior_hash = b""
        if number == plain.CUSTOM:
            prior_hash = plain.opened(self.priors[number]).digest[:4]
            if self.chance(0.1):
                prior_hash = self.rng.bytes(4)
        return replace(parts, prior=number, prior_hash=prior_hash)

    def other_channels(self, parts: Parts) -> Parts:
        channels = int(self.rng.choice([0, 1, 2, 3], p=[0.25, 0.25, 0.25, 0.25]))
        return replace(parts, channels=channels, axes=self.rng.bytes(3) if channels == 3 else b"")

    def side(self) -> bytes:
        side = self.one_of(ABSURD_SIDES) if self.chance(0.05) else self.one_of(SIDES)
        return varint(side - 1)

    def other_size(self, parts: Parts) -> Parts:
        usual = self.one_of([0] * 12 + [1, 2, 3])
        width = b"" if usual & 1 else self.side()
        height = b"" if usual & 2 else self.side()
        return replace(parts, usual=usual, width=width, height=height)

    def large(self, parts: Parts) -> Parts:
        width, height = LARGE
        modulating = [number for number in self.priors if plain.opened(self.priors[number]).modulates]
        number = int(self.one_of(modulating))
        sized = replace(parts, usual=0, width=varint(width - 1), height=varint(height - 1), prior_hash=b"")
        drawn = replace(
            sized, prior=number, channels=0, alpha_flag=0, alpha=b"", coder=1, index_bits=b"", seed=b"", axes=b""
        )
        return replace(drawn, point=int(self.rng.integers(plain.opened(self.priors[number]).points)), payload=b"")

    def other_coder(self, parts: Parts) -> Parts:
        coder = int(self.rng.integers(4))
        if coder < 3:
            return replace(parts, coder=coder, index_bits=b"", seed=b"")
        width = int(self.rng.integers(30)) if self.chance(0.2) else int(self.one_of(range(8, 23, 2)))
        seed = self.one_of(USUAL_SEEDS) if self.chance(0.3) else int(self.rng.integers(1, 2**63 - 1))
        return replace(parts, coder=coder, index_bits=bytes([width]), seed=varint(seed))

    def point(self) -> int:
        return int(self.rng.integers(32)) if self.chance(0.2) else int(self.one_of([0, 1, 2, 8, 10, 30, 31]))

    def other_point(self, parts: Parts) -> Parts:
        return replace(parts, point=self.point())

    def other_alpha(self, parts: Parts) -> Parts:
        if parts.alpha_flag and self.chance(0.5):
            return replace(parts, alpha_flag=0, alpha=b"")
        sharpness = int(self.rng.integers(8))
        alpha = LAYER if self.chance(0.1) else sharpness << 5 | self.point()
        return replace(parts, alpha_flag=1, alpha=bytes([alpha]))

    def odd_spelling(self, parts: Parts) -> Parts:
        """A varint in a longer form, or without an end; a field that stands where it should not, or the other way."""
        name = self.one_of(["width", "height", "index_bits", "seed", "axes", "alpha", "prior_hash"])
        value = getattr(parts, name)
        spellings = [value[:-1] + bytes([value[-1] | 128, 0])] if value else [b"\x05"]
        spellings += [value + b"\x80", b"", b"\xff" * 12, value]
        return replace(parts, **{name: self.one_of(spellings)})

    # Changes of the payload

    def other_payload(self, parts: Parts) -> Parts:
        length = int(self.rng.integers(1 + 2 * len(parts.payload)))
        drawn = self.one_of([self.rng.bytes(length), bytes(length), b"\xff" * length])
        return replace(parts, payload=drawn)

    def flipped_bits(self, parts: Parts) -> Parts:
        """Some anywhere, some in the first bytes, where the classes are."""
        payload = bytearray(parts.payload)
        if not payload:
            return parts
        for _ in range(self.rng.integers(1, 9)):
            reach = len(payload) if self.chance(0.5) else min(len(payload), 4)
            payload[self.rng.integers(reach)] ^= 1 << self.rng.integers(8)
        return replace(parts, payload=bytes(payload))

    def spliced(self, parts: Parts) -> Parts:
        """The beginning of one payload and the end of another."""
        other = self.one_of(self.parts).payload
        kept = int(self.rng.integers(len(parts.payload) + 1))
        return replace(parts, payload=parts.payload[:kept] + other[self.rng.integers(len(other) + 1) :])

    def completed(self, parts: Parts) -> Parts:
        """The payload, and random bits behind it, as long as header and classes ask; as it is where that is nothing."""
        drawn = parts.payload + self.rng.bytes(DRAWN_BITS // 8)
        bits = np.unpackbits(np.frombuffer(drawn, np.uint8)).tolist()
        try:
            header = plain.read_header(replace(parts, payload=b"").body() + b"..", self.priors)
            if header.width * header.height > math.prod(LARGE):
                return parts
            used = plain.read_planes(header, self.priors, bits)[1]
        except plain.Refused:
            return parts
        return replace(parts, payload=np.packbits(np.array(bits[:used], np.uint8)).tobytes())

    def other_end(self, parts: Parts) -> Parts:
        """A byte less or more, or a bit of the last one changed: of the padding, if there is one."""
        payload = parts.payload
        ends = [payload[:-1], payload + b"\0", payload + self.rng.bytes(1)]
        if payload:
            ends.append(payload[:-1] + bytes([payload[-1] ^ 1]))
        return replace(parts, payload=self.one_of(ends))

    def edited(self, body: bytes) -> bytes:
        """Bytes inserted, removed or replaced, wherever they are."""
        at = int(self.rng.integers(len(body) + 1))
        size = int(self.rng.integers(1, 5))
        drawn = self.rng.bytes(size)
        return self.one_of([body[:at] + drawn + body[at:], body[:at] + body[at + size :],
                            body[:at] + drawn + body[at + size :], body[:at]])  # fmt: skip
