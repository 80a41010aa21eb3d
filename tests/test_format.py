"""A second decoder, written from FORMAT.md alone in plain integers; numpy only opens the prior file."""

import hashlib
import io
import json
import math
import struct
from dataclasses import replace
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest

from combiner_codec import codec
from combiner_codec import prior as priors
from conftest import smooth_pictures

MASK = 2**64 - 1


def decode(data, prior_file):
    """Header fields, classes, indices and latents of a file."""
    f = read_header(data, prior_file)
    payload = [byte >> bit & 1 for byte in data[f.start : -2] for bit in range(7, -1, -1)]
    kls = f.arrays[f"{f.point:02}.kl"].tolist()
    mean, noise = (f.arrays[f"{f.point:02}.{name}"].tolist() for name in ("mean", "noise"))
    tiles, class_bits = -(-f.height // f.tile) * -(-f.width // f.tile), (len(kls) - 1).bit_length()
    f.classes = [number(payload[t * class_bits : (t + 1) * class_bits]) for t in range(tiles)]
    f.indices, f.latents, position = [], [], tiles * class_bits
    for tile, c in enumerate(f.classes):
        groups = partition(kls[c], f.group_bits, f.prior_index_bits)
        length = sum(bits for _, bits in groups)
        stream = payload[position : position + length]
        position += length
        f.indices.append(read_indices(stream, [bits for _, bits in groups], f.index_bits))
        f.latents.append(latents(f.seed, tile, kls[c], mean, noise, groups, f.indices[-1]))
    assert -(-position // 8) * 8 == len(payload) and not any(payload[position:])
    return f


def read_header(data, prior_file):
    """Section 2, and the parts of section 8 that it needs."""
    digest = hashlib.sha256(prior_file).digest()
    arrays = np.load(io.BytesIO(prior_file))
    meta = json.loads(bytes(arrays["metadata"]))
    assert data[:2] == b"\xcb\x4d" and data[2] >> 4 == 1
    assert crc16(digest + data[:-2]) == data[-2] + 256 * data[-1]
    flags, position = data[2] & 15, 5
    f = SimpleNamespace(prior=data[3], index_bits=8 + 2 * (data[4] >> 5), point=data[4] & 31, prior_hash=b"", seed=0)
    f.arrays, f.tile = arrays, meta["architecture"]["tile"]
    f.group_bits, f.prior_index_bits = meta["group_bits"], meta["index_bits"]
    f.width = f.height = f.tile
    if flags & 4:
        f.prior_hash, position = data[5:9], 9
        assert f.prior_hash == digest[:4]
    if not flags & 1:
        width, position = varint(data, position)
        height, position = varint(data, position)
        f.width, f.height = width + 1, height + 1
    if flags & 2:
        f.seed, position = varint(data, position)
    f.start = position
    return f


def crc16(data):
    value = 0xFFFF
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 * (value >> 15)) & 0xFFFF
    return value


def varint(data, position):
    value = shift = 0
    while data[position] > 127:
        value |= (data[position] & 127) << shift
        position, shift = position + 1, shift + 7
    return value | data[position] << shift, position + 1


def number(bits):
    return int("0" + "".join(map(str, bits)), 2)


def word(seed, purpose, lane, n):
    """Section 4: Philox4x64-10."""
    c, k = [n // 4 + 1, lane, purpose, 0], [seed, 1]
    for _ in range(10):
        p, q = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [q >> 64 ^ c[1] ^ k[0], q & MASK, p >> 64 ^ c[3] ^ k[1], p & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c[n % 4]


def partition(kl, group_bits, index_bits):
    """Section 5, one latent at a time: [(latents, bits)]."""
    cost = [i * i // 16 for i in kl]
    walk = [i for i in sorted(range(len(kl)), key=[word(0, 2, 0, n) for n in range(len(kl))].__getitem__) if cost[i]]
    groups, group, total, spent = [], [], 0, 0
    for position, latent in enumerate(walk):
        if group_bits >= index_bits:
            if group and sum(cost[i] for i in group) + cost[latent] > 256 * group_bits:
                groups.append((group, index_bits))
                group = []
            group.append(latent)
        else:
            group.append(latent)
            total += cost[latent]
            bits = (total + 128) // 256 - spent
            if bits >= group_bits or (bits and position == len(walk) - 1):
                groups.append((group, bits))
                group, spent = [], spent + bits
    return groups + [(group, index_bits)] * (group_bits >= index_bits and bool(group))


def read_indices(stream, widths, index_bits):
    """Section 6."""
    ends = [sum(widths[: g + 1]) for g in range(len(widths))]
    return [number(stream[max(0, end - index_bits) : end]) for end in ends]


def latents(seed, tile, kl, mean, noise, groups, indices):
    """Sections 4 and 7."""
    out = list(mean)
    sign_words = [word(seed, 1, tile, n) for n in range(-(-len(kl) // 64))]
    for g, ((group, _), index) in enumerate(zip(groups, indices, strict=True)):
        for k, i in enumerate(group):
            raw = word(seed, 0, g, index * -(-len(group) // 4) + k // 4)
            eps = single(NormalDist().inv_cdf(((raw >> 16 * (k % 4) & 0xFFFF) + 0.5) / 65536))
            scale = single(noise[i] * math.sqrt(4 ** (kl[i] * kl[i] // 16 / 256) - 1))
            out[i] += scale * (1 - 2 * (sign_words[i // 64] >> i % 64 & 1)) * eps
    return out


def single(x):
    return struct.unpack("f", struct.pack("f", x))[0]


@pytest.fixture(scope="session")
def independent_prior(tiny_prior, tmp_path_factory):
    """The tiny prior with groups that do not overlap."""
    path = tmp_path_factory.mktemp("independent") / "independent.npz"
    levels = [replace(tiny_prior.level(i), group_bits=8, index_bits=8) for i in range(2)]
    priors.save(path, tiny_prior.metadata, tiny_prior.architecture, levels)
    return priors.load_file(path)


@pytest.mark.parametrize(("width", "height", "seed"), [(32, 32, 0), (7, 5, 0), (40, 33, 0), (32, 32, 5)])
@pytest.mark.parametrize("name", ["tiny", "independent"])
def test_a_decoder_written_from_the_page_agrees(request, name, width, height, seed):
    prior = request.getfixturevalue(f"{name}_prior")
    picture = smooth_pictures(1, max(width, height))[0, :height, :width]
    (encoded,) = codec.encode_arrays([picture], 0.01, prior, seed=seed, effort="fast")
    ours, theirs = decode(encoded.data, prior.data), codec.parse(encoded.data, prior)
    h = theirs.header
    assert {name: getattr(ours, name) for name in vars(h)} == vars(h)
    assert (ours.width, ours.height, ours.seed) == (width, height, seed)
    assert ours.classes == theirs.classes.tolist()
    position = 0
    for c, indices in zip(ours.classes, ours.indices, strict=True):
        _, _, widths = theirs.level.partition(c)
        stream = theirs.bits[None, position : position + widths.sum()]
        assert indices == codec.read_indices(stream, widths, h.index_bits)[0].tolist()
        position += widths.sum()
    np.testing.assert_allclose(ours.latents, codec.sample_latents(theirs), atol=1e-6)


@pytest.mark.parametrize(("group_bits", "index_bits"), [(6, 16), (1, 8), (14, 16), (8, 8), (16, 16), (16, 10)])
@pytest.mark.parametrize("largest", [3, 5, 40, 255])
def test_partitions_agree(group_bits, index_bits, largest):
    kl = np.random.default_rng(largest).integers(0, largest + 1, 200).astype(np.uint8)
    coded, dims, widths = priors.partition(kl, group_bits, index_bits)
    groups = partition(kl.tolist(), group_bits, index_bits)
    assert [i for group, _ in groups for i in group] == coded.tolist()
    assert [(len(group), bits) for group, bits in groups] == list(zip(dims.tolist(), widths.tolist(), strict=True))
