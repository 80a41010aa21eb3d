"""A second decoder, written from FORMAT.md alone in plain numbers; numpy only opens the prior file."""

import hashlib
import io
import json
import math
import struct
from dataclasses import replace
from functools import cache
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest

from combiner_codec import decoder
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import candidates, streams
from combiner_codec.format import prior as priors
from combiner_codec.synthesis.network import Network
from combiner_codec.synthesis.numpy_ops import NumpyOps
from conftest import busy_pictures

MASK = 2**64 - 1


def in_turns(table):
    return [component[i] for i in range(len(table[0])) for component in table]


def decode(data, prior_file):
    """Header fields, classes, indices, latents and field of a file's colour; of its alpha the same, as f.below."""
    f = read_header(data, prior_file)
    payload = [byte >> bit & 1 for byte in data[f.start : -2] for bit in range(7, -1, -1)]
    position, f.below = read_plane(f, payload, 0), None
    if f.alpha is not None:
        f.below = read_header(data, prior_file, alpha=True)
        position = read_plane(f.below, payload, position)
    assert -(-position // 8) * 8 == len(payload) and not any(payload[position:])
    return f


def read_plane(f, payload, position):
    """Section 3 to 7: colour or alpha, from some bit on; where it ends."""
    f.classes, f.indices, f.latents, f.field, f.value = [], [], [], None, None
    if f.point == 31:
        end = position + (8 if f.grey else 24)
        f.value = [number(payload[i : i + 8]) for i in range(position, end, 8)]
        return end
    rows, columns = -(-f.height // f.tile), -(-f.width // f.tile)
    f.classes, used = read_classes(payload[position:], rows, columns, f)
    position += used
    n = f.side
    block_columns = -(-columns // n)
    for block in range(-(-rows // n) * block_columns):
        top, left = block // block_columns * n, block % block_columns * n
        kl = []
        for row in range(top, top + n):
            for column in range(left, left + n):
                kl += kl_of_tile(f, row, column) if row < rows and column < columns else [0] * len(f.mean)
        columns_of = list(range(len(f.mean))) * n**2
        groups = partition(kl, f.group_bits, f.prior_index_bits)
        length = len(groups) * f.group_bits
        f.indices.append(read_indices(payload[position : position + length], len(groups), f.group_bits, f.index_bits))
        f.latents.append(latents(f, block, kl, columns_of, groups, f.indices[-1]))
        position += length
    f.field = whole_field(f, rows, columns, block_columns)
    return position


def read_header(data, prior_file, alpha=False):
    """Section 2, as the colour or the alpha sees it, and the parts of section 8 that it needs."""
    digest = hashlib.sha256(prior_file).digest()
    arrays = np.load(io.BytesIO(prior_file))
    meta = json.loads(bytes(arrays["metadata"]))
    architecture = meta["architecture"]
    assert data[:2] == b"\xcb\x4d"
    assert crc16(digest + data[:-2]) == data[-2] + 256 * data[-1]
    what, how, position = data[2], data[3], 4
    f = SimpleNamespace(prior=what >> 4, channels=what >> 2 & 3, point=how & 31, prior_hash=b"", seed=0)
    f.alpha, f.sharpness = None, 0
    f.tile, f.group_bits, f.prior_index_bits = architecture["tile"], meta["group_bits"], meta["index_bits"]
    f.layers = architecture["layers"]
    f.side = architecture.get("side", 1)
    if f.prior == 15:
        f.prior_hash, position = data[4:8], 8
        assert f.prior_hash == digest[:4]
    f.width = f.height = f.tile * f.side
    if not what & 1:
        width, position = varint(data, position)
        f.width = width + 1
    if not what & 2:
        height, position = varint(data, position)
        f.height = height + 1
    if how >> 6 == 3:
        f.index_bits, position = data[position], position + 1
        f.seed, position = varint(data, position)
    else:
        f.index_bits = 14 + 2 * (how >> 6)
    if how & 32:
        f.alpha, f.sharpness, position = data[position] & 31, data[position] >> 5, position + 1
    f.start, f.grey = position, alpha or f.channels > 0
    if alpha:
        f.point = f.alpha
    if f.point < 31:
        own = {name[3:]: arrays[name].tolist() for name in arrays.files if name.startswith(f"{f.point:02}.")}
        f.kl, f.contexts = [in_turns(table) for table in own["kl"]], own.get("contexts")
        f.merged = [[in_turns(table) for table in four] for four in own.get("merged", [])]
        f.mean, f.noise, f.shared = own["mean"], own["noise"], own
        if f.grey:  # the first colour component alone
            f.kl = [[i * (k % 3 == 0) for k, i in enumerate(row)] for row in f.kl]
            f.merged = [[[i * (k % 3 == 0) for k, i in enumerate(row)] for row in four] for four in f.merged]
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


def read_classes(payload, rows, columns, f):
    """Section 3: classes row by row, and how many bits they take."""
    count = len(f.kl) + len(f.merged)
    if f.contexts is not None:
        return class_map(payload, rows, columns, count, len(f.kl), f.contexts)
    bits = len(f"{count - 1:b}") if count > 1 else 0
    numbers = [number(payload[i * bits : (i + 1) * bits]) for i in range(rows * columns)]
    return [numbers[row * columns : (row + 1) * columns] for row in range(rows)], rows * columns * bits


def class_map(payload, rows, columns, count, single, tables):
    """Section 3, class maps: bit after bit."""
    if count == 1:
        return [[0] * columns] * rows, 0
    halving = [round(2 ** (16 - i / 16)) for i in range(16)]
    bits = iter(payload)
    low, high, used = 0, 2**32 - 1, 0
    code = number([next(bits, 0) for _ in range(32)])
    classes = [[count] * (columns + 1) for _ in range(rows + 1)]  # a row above and a column beyond the right end
    for row in range(1, rows + 1):
        for column in range(columns):
            left = classes[row][column - 1] if column else count
            up, up_right = classes[row - 1][column : column + 2]
            odd_row, odd_column = (row - 1) % 2, column % 2
            first = classes[row - odd_row][column - odd_column]  # of the four tiles that may be merged
            if (odd_row or odd_column) and single <= first < count:
                classes[row][column] = first
                continue
            begins = not odd_row and not odd_column and row < rows and column + 1 < columns
            may = count if begins else single
            score = [tables[0][left][c] + tables[1][up][c] + tables[2][up_right][c] for c in range(may)]
            ends = [0]
            for s in score:
                x = max(score) - s
                ends.append(ends[-1] + max(1, halving[x % 16] >> x // 16))
            span, total = high - low + 1, ends[-1]
            value = ((code - low + 1) * total - 1) // span
            c = next(c for c in range(may) if ends[c] <= value < ends[c + 1])
            classes[row][column] = c
            low, high = low + span * ends[c] // total, low + span * ends[c + 1] // total - 1
            while True:
                if high < 2**31 or low >= 2**31:
                    pass
                elif low >= 2**30 and high < 3 * 2**30:
                    low, high, code = low - 2**30, high - 2**30, code - 2**30
                else:
                    break
                low, high = low * 2 % 2**32, high * 2 % 2**32 + 1
                code = code * 2 % 2**32 + next(bits, 0)
                used += 1
    return [row[:columns] for row in classes[1:]], used + 2


def four_words(seed, purpose, lane, row, n):
    """Section 4: Philox4x64-10."""
    c, k = [n + 1, lane, purpose, row], [seed, 1]
    for _ in range(10):
        p, q = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [q >> 64 ^ c[1] ^ k[0], q & MASK, p >> 64 ^ c[3] ^ k[1], p & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


def words(seed, purpose, lane, count):
    return [w for n in range(-(-count // 4)) for w in four_words(seed, purpose, lane, 0, n)][:count]


def kl_of_tile(f, row, column):
    """Section 5: cost index of each latent of a tile."""
    c, single = f.classes[row][column], len(f.kl)
    return f.kl[c] if c < single else f.merged[c - single][row % 2 * 2 + column % 2]


@cache
def order(count):
    return sorted(range(count), key=words(0, 2, 0, count).__getitem__)


def partition(kl, group_bits, index_bits):
    """Section 5, one latent at a time: the latents of each group."""
    cost = [i * i // 16 for i in kl]
    walk = [i for i in order(len(kl)) if cost[i]]
    if group_bits < index_bits:
        capacity, total = 256 * group_bits, 0
        groups = [[] for _ in range((sum(cost) + capacity // 2) // capacity)]
        for i in walk if groups else []:
            total += cost[i]
            groups[min((total - 1 + capacity // 2) // capacity, len(groups) - 1)].append(i)
        return groups
    groups = []
    for i in walk:
        if not groups or sum(cost[j] for j in groups[-1]) + cost[i] > 256 * group_bits:
            groups.append([])
        groups[-1].append(i)
    return groups


def read_indices(stream, groups, group_bits, index_bits):
    """Section 6."""
    ends = [(g + 1) * group_bits for g in range(groups)]
    return [number(stream[max(0, end - index_bits) : end]) for end in ends]


def latents(f, block, kl, columns, groups, indices):
    """Sections 4 and 7."""
    out = [f.mean[c] for c in columns]
    sign_words = words(f.seed, 1, block, -(-len(kl) // 64))
    for g, (group, index) in enumerate(zip(groups, indices, strict=True)):
        for k, i in enumerate(group):
            raw = four_words(f.seed, 0, g, k // 16, index)[k % 16 // 4]
            eps = single(NormalDist().inv_cdf(((raw >> 16 * (k % 4) & 0xFFFF) + 0.5) / 65536))
            scale = single(f.noise[columns[i]] * math.sqrt(4 ** (kl[i] * kl[i] // 16 / 256) - 1))
            out[i] += scale * (1 - 2 * (sign_words[i // 64] >> i % 64 & 1)) * eps
    return out


def single(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def whole_field(f, rows, columns, block_columns):
    """Section 7: [row][column][colour]."""
    n, hop = f.side, f.tile
    hops = [[hop * (1 + (c >= len(f.kl))) for c in line] for line in f.classes]  # of the tile that each is part of
    field = [[[0.0] * 3 for _ in range(columns * hop)] for _ in range(rows * hop)]
    for row in range(rows):
        for column in range(columns):
            size = hops[row][column] // hop
            if row % size or column % size:
                continue
            for colour in range(3):
                square = [[0.0] * (size * hop) for _ in range(size * hop)]
                for v in range(size * hop):
                    for h in range(size * hop):
                        r, c = row + v % size, column + h % size
                        place = (r % n * n + c % n) * len(f.mean) + (v // size * hop + h // size) * 3 + colour
                        square[v][h] = f.latents[r // n * block_columns + c // n][place]
                down, across = basis(size * hop, row + size == rows), basis(size * hop, column + size == columns)
                lines = [[sum(map(float.__mul__, line, cosines)) for cosines in across] for line in square]
                for i, cosines in enumerate(down):
                    for j in range(size * hop):
                        value = sum(cosines[v] * lines[v][j] for v in range(size * hop))
                        field[row * hop + i][column * hop + j][colour] = value
    for x in range(columns * hop):
        along = [line[x // hop] for line in hops]
        mixed = mix([[line[x][k] for line in field] for k in range(3)], along, hop)
        for y, colours in enumerate(zip(*mixed, strict=True)):
            field[y][x] = list(colours)
    for y, line in enumerate(field):
        mixed = mix([[colours[k] for colours in line] for k in range(3)], hops[y // hop], hop)
        field[y] = [list(colours) for colours in zip(*mixed, strict=True)]
    return field


def mix(lines, along, hop):
    """Section 7: samples around the borders of tiles of the hops `along` the axis."""
    for t in range(1, len(along)):
        if t % 2 and along[t] > hop:  # within a merged tile
            continue
        half, border = min(along[t - 1], along[t]) // 2, t * hop
        for y in lines:
            for i in range(half):
                angle = math.pi / 4 * (1 + (i + 1 / 2) / half)
                a, b = y[border - 1 - i], y[border + i]
                y[border - 1 - i] = math.sin(angle) * a + math.cos(angle) * b
                y[border + i] = math.sin(angle) * b - math.cos(angle) * a
    return lines


@cache
def basis(hop, last):
    """Section 7: [sample][frequency]."""

    def cosine(k, i):
        if not last:
            return math.sqrt(2 / hop) * math.cos(math.pi * (k + 1 / 2) * (i + 1 / 2) / hop)
        return math.sqrt((2 if k else 1) / hop) * math.cos(math.pi * k * (i + 1 / 2) / hop)

    return [[cosine(k, i) for k in range(hop)] for i in range(hop)]


def pixels(f):
    """Section 7: shared layers on the field, position by position, and rounding; alpha behind the colour."""
    shown = plane_pixels(f)
    if f.channels == 2:
        shown = [[y * 3 for y in line] for line in shown]
    if f.below:
        alpha = [[[sharper(a, f.sharpness) for a in y] for y in line] for line in plane_pixels(f.below)]
        shown = [[y + a for y, a in zip(*lines, strict=True)] for lines in zip(shown, alpha, strict=True)]
    return shown


def sharper(a, sharpness):
    return min(max(((2 * a - 255) * 2**sharpness + 255) // 2, 0), 255)


def plane_pixels(f):
    if f.value:
        return [[f.value] * f.width] * f.height
    outputs = {0: (f.field, 1)}
    for number_, layer in enumerate(f.layers[1:], 1):
        fold, w, r = layer.get("fold", 1), f.shared[f"w{number_}"], layer["window"] // 2
        x = refold(*outputs[number_ - 1], fold)
        height, width = len(x), len(x[0])
        y = [[dense(x, w, row - r, column - r) for column in range(width)] for row in range(height)]
        for row in range(height):
            for column in range(width):
                bias = bias_at(f, f.shared[f"b{number_}"], row, column, fold)
                y[row][column] = [act(layer, a + b) for a, b in zip(y[row][column], bias, strict=True)]
        if layer["residual_of"] is not None:
            added = refold(*outputs[layer["residual_of"]], fold)
            y = [[[a + b for a, b in zip(*both, strict=True)] for both in zip(*lines, strict=True)]
                 for lines in zip(y, added, strict=True)]  # fmt: skip
        outputs[number_] = y, fold
    rgb = refold(*outputs[len(f.layers) - 1], 1)
    if f.grey:
        rgb = [[[sum(y) / 3] for y in line] for line in rgb]
    return [[[round(min(max(255 * a, 0), 255)) for a in y] for y in line[: f.width]] for line in rgb[: f.height]]


def refold(x, fold, wanted):
    if fold != wanted and fold > 1:
        channels = len(x[0][0]) // fold**2
        places = [[(c // fold, (r % fold * fold + c % fold) * channels) for c in range(len(x[0]) * fold)]
                  for r in range(len(x) * fold)]  # fmt: skip
        x = [[x[r // fold][c][k : k + channels] for c, k in line] for r, line in enumerate(places)]
    if fold == wanted or wanted == 1:
        return x
    square = [(u, v) for u in range(wanted) for v in range(wanted)]
    return [[[a for u, v in square for a in x[r + u][c + v]] for c in range(0, len(x[0]), wanted)]
            for r in range(0, len(x), wanted)]  # fmt: skip


def dense(x, w, top, left):
    """A window's sum, edges repeated: w[u][v][input][output]."""
    y = [0.0] * len(w[0][0][0])
    for u, line in enumerate(w):
        for v, weights in enumerate(line):
            near = x[min(max(top + u, 0), len(x) - 1)][min(max(left + v, 0), len(x[0]) - 1)]
            for value, own in zip(near, weights, strict=True):
                y = [a + value * b for a, b in zip(y, own, strict=True)]
    return y


def act(layer, a):
    a *= layer["omega"]
    if layer["kind"] == "silu":
        return a / (1 + math.exp(-a)) if a > -700 else 0.0
    return math.sin(a) if layer["kind"] == "sine" else a


def bias_at(f, bias, row, column, fold):
    if not isinstance(bias[0], list):
        return bias
    rows, columns = len(f.classes), len(f.classes[0])
    s = min(max((row + 1 / 2) * fold / f.tile - 1 / 2, 0), rows - 1)
    t = min(max((column + 1 / 2) * fold / f.tile - 1 / 2, 0), columns - 1)
    i, j = math.floor(s), math.floor(t)
    corners = [
        (share_s * share_t, bias[f.classes[min(a, rows - 1)][min(b, columns - 1)]])
        for a, share_s in ((i, 1 - s + i), (i + 1, s - i))
        for b, share_t in ((j, 1 - t + j), (j + 1, t - j))
    ]
    return [sum(share * own[o] for share, own in corners) for o in range(len(bias[0]))]


@pytest.fixture(scope="session")
def independent_prior(tiny_prior, tmp_path_factory):
    """The tiny prior with groups that do not overlap."""
    path = tmp_path_factory.mktemp("independent") / "independent.npz"
    points = [replace(tiny_prior.operating_point(i), group_bits=8, index_bits=8) for i in range(2)]
    priors.save(path, tiny_prior.metadata, tiny_prior.architecture, points)
    return priors.load_file(path)


@pytest.mark.parametrize(("width", "height", "seed"), [(32, 32, 0), (7, 5, 0), (40, 33, 0), (16, 16, 5), (90, 70, 3)])
@pytest.mark.parametrize("name", ["tiny", "tiny_photo", "independent"])
def test_a_decoder_written_from_the_page_agrees(request, name, width, height, seed):
    """From the header to the field; the shared layers have a test of their own."""
    prior = request.getfixturevalue(f"{name}_prior")
    picture = busy_pictures(1, 128)[0][-height:, -width:]
    (encoded,) = encode_arrays([picture], prior, Settings(0.002, "fast", seed))
    ours, theirs = decode(encoded.data, prior.data), decoder.parse(encoded.data, prior)
    h, point = theirs.header, theirs.point
    assert {name: getattr(ours, name) for name in vars(h)} == vars(h)
    assert ours.below is None and theirs.alpha is None
    assert (ours.width, ours.height, ours.seed) == (width, height, seed)
    assert ours.classes == theirs.classes.tolist()
    counts = theirs.lengths // point.group_bits
    indices = streams.read_indices(theirs.bits, counts, point.group_bits, h.index_bits)
    assert [len(own) for own in ours.indices] == counts.tolist()
    assert [index for own in ours.indices for index in own] == indices.tolist()
    latents = decoder.sample_latents(theirs, slice(None), np.float64)
    np.testing.assert_allclose(ours.latents, latents, atol=1e-6)
    network = Network(prior.architecture, {}, theirs.classes[None], NumpyOps(), single=theirs.point.single)
    whole = network.field(latents.reshape(1, *theirs.grid, -1))[0]
    np.testing.assert_allclose(ours.field, whole, atol=1e-5)


STRONG = {"w6": 0.01, "b2": 1.0}  # of the last layer, and of the first after the colour map


@pytest.mark.parametrize(
    ("width", "height", "kind"),
    [(30, 20, "RGB"), (16, 16, "RGB"), (30, 20, "L"), (30, 20, "grey RGB"), (30, 20, "RGBA"), (20, 18, "LA"),
     (20, 18, "icon"), (20, 18, "veil"), (20, 18, "one colour")],
)  # fmt: skip
def test_the_pixels_agree(tiny_photo_prior, tmp_path, width, height, kind):
    """With shared layers that do a lot, and classes that differ."""
    rng, points = np.random.default_rng(0), []
    for i in range(2):
        point = tiny_photo_prior.operating_point(i)
        changed = {name: rng.normal(size=point.shared[name].shape) * strength for name, strength in STRONG.items()}
        points.append(replace(point, shared=point.shared | changed))
    priors.save(tmp_path / "strong.npz", tiny_photo_prior.metadata, tiny_photo_prior.architecture, points)
    prior = priors.load_file(tmp_path / "strong.npz")
    picture = busy_pictures(1, 64)[0][-height:, -width:]
    picture[:16, :16] = 120
    grey, hole = picture[..., 0], picture[..., 1].copy()
    hole[:, : width // 2] = 0
    picture = {
        "L": grey, "grey RGB": np.repeat(grey[..., None], 3, 2), "RGBA": np.dstack([picture, hole]),
        "LA": np.dstack([grey, hole]), "icon": np.dstack([picture * 0 + 7, hole]),
        "veil": np.dstack([picture, grey * 0 + 90]), "one colour": picture * 0 + 9,
    }.get(kind, picture)  # fmt: skip
    (encoded,) = encode_arrays([picture], prior, Settings(0.002, "fast"))
    ours = decode(encoded.data, prior.data)
    assert kind != "RGB" or width == 16 or len({c for row in ours.classes for c in row}) > 1
    error = np.array(pixels(ours)).reshape(encoded.pixels.shape) - encoded.pixels
    assert np.abs(error).max() <= 1 and (error != 0).mean() < 1e-3


@pytest.mark.parametrize(("group_bits", "index_bits"), [(6, 16), (1, 8), (14, 16), (8, 8), (16, 16)])
@pytest.mark.parametrize("largest", [3, 5, 40, 255])
def test_partitions_agree(group_bits, index_bits, largest):
    kl = np.random.default_rng(largest).integers(0, largest + 1, (3, 200)).astype(np.uint8)
    parts = streams.partition(kl, group_bits, group_bits < index_bits)
    groups = [partition(row.tolist(), group_bits, index_bits) for row in kl]
    assert parts.counts.tolist() == [len(own) for own in groups]
    assert parts.dims.tolist() == [len(group) for own in groups for group in own]
    assert parts.latents.tolist() == [i for own in groups for group in own for i in group]


def test_the_numbers_on_the_page():
    assert [f"{w:016x}" for w in words(0, 0, 0, 3)] == ["d037f8c3f9a1d176", "c057419b4c210765", "abf13115117b0065"]
    table = candidates.normal_table()
    assert table[[0, 1, 32768]].tolist() == pytest.approx([-4.3249192, -4.0762067, 1.9124056e-05], rel=1e-7)
    bits = [int(bit) for bit in "00010010000101100111000111011001"]
    tables = [[[(12 * i + 3 * j + c) * 37 % 61 - 30 for c in range(3)] for j in range(4)] for i in range(3)]
    assert class_map(bits, 3, 4, 3, 3, tables) == ([[0, 1, 1, 2], [0, 0, 1, 2], [2, 0, 1, 1]], 32)
