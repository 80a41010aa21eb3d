"""The candidate stream that encoder and decoder share (FORMAT.md, section 4).

Raw words come from the counter-based generator Philox4x64-10 (Salmon et al., SC 2011). A stream is addressed by
(seed, purpose, lane); its words are numbered from 0, and any of them can be computed without the others. Sixteen bits
of a word give one standard normal through a table of quantiles. Everything discrete is integer arithmetic.
"""

from functools import cache, lru_cache

import numpy as np

STREAM_VERSION = 1  # second half of the Philox key; a change of any rule in this module must change it
CANDIDATES, SIGNS, ORDER = range(3)  # purposes
WORDS = 4  # of a draw
NORMALS = 4  # standard normals in a word
SIGNS_OF_A_DRAW = 256

MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
LOW_HALF = np.uint64(0xFFFFFFFF)  # of a word
HALF_WORD = np.uint64(32)  # bits
WORD = 0xFFFFFFFFFFFFFFFF


def words(seed: int, purpose: int, lane: int, count: int, start: int = 0) -> np.ndarray:
    """Words start, start + 1, … of one stream: (count,) uint64, from numpy's own Philox."""
    first = start // 4
    skip = start - 4 * first
    stream = np.random.Philox(counter=[first, lane, purpose, 0], key=[seed, STREAM_VERSION])
    return stream.random_raw(count + skip)[skip:]


def words_at(seed: int, purpose: int, lanes: np.ndarray, fours: np.ndarray, rows: np.ndarray | int = 0) -> np.ndarray:
    """Words 4 f … 4 f + 3 of stream lanes[n], f = fours[n]: (n, 4) uint64. A decoder never imports numpy.random.

    Candidates have one such stream for every row of latents.
    """
    counter = (
        fours.astype(np.uint64) + np.uint64(1),  # numpy counts up before it draws
        lanes.astype(np.uint64),
        np.full(len(fours), purpose, np.uint64),
        np.zeros(len(fours), np.uint64) + np.asarray(rows, np.uint64),
    )
    return _philox(counter, (seed, STREAM_VERSION))


def candidates(seed: int, group: int, count: int, dims: int) -> np.ndarray:
    """Candidates 0 … count - 1 of a group, one column each: (dims, count) float32 standard normals.

    Four latents of a candidate take one word, so that neither `count` nor `dims` changes the others.
    """
    normals = np.empty((dims, count), np.float32)
    for first in range(0, dims, NORMALS):
        row = first // NORMALS
        stream = np.random.Philox(counter=[0, group, CANDIDATES, row], key=[seed, STREAM_VERSION])
        drawn = pieces(stream.random_raw(count)).T  # (NORMALS, count)
        for i, normal in enumerate(normals[first : first + NORMALS]):
            normal_table().take(drawn[i], out=normal, mode="clip")  # the table has all 16 bits; "raise" would copy
    return normals


def candidates_at(seed: int, groups: np.ndarray, indices: np.ndarray, dims: np.ndarray) -> np.ndarray:
    """The one candidate per group that an index names, one after another: (G,), (G,), (G,) -> (sum(dims),) float32."""
    rows = (dims + NORMALS - 1) // NORMALS  # of each group
    group = np.repeat(np.arange(len(groups)), rows)
    row = within(rows)
    index = indices[group]
    drawn = words_at(seed, CANDIDATES, groups[group], index // WORDS, row)
    word = drawn[np.arange(len(index)), index % WORDS]
    latent = NORMALS * row[:, None] + np.arange(NORMALS)
    used = latent < dims[group, None]
    return normal_table().take(pieces(word)[used])


def within(counts: np.ndarray) -> np.ndarray:
    """Place of every element within its run, runs one after another: (n,) lengths -> (sum,) 0, 1, … of each run."""
    starts = np.cumsum(counts) - counts
    return np.arange(counts.sum()) - np.repeat(starts, counts)


def pieces(raw: np.ndarray) -> np.ndarray:
    """The 16-bit pieces of words, low bits first: (n,) uint64 -> (n, NORMALS) uint16."""
    return np.ascontiguousarray(raw, "<u8").view("<u2").reshape(-1, NORMALS)


def signs(seed: int, blocks: np.ndarray, latents: int) -> np.ndarray:
    """One sign per block and latent, so that like blocks make unlike errors: (B,) -> (B, D) float32 of +1 and -1."""
    if blocks.tolist() == [0]:
        return _first_signs(seed, latents)
    return _signs(seed, blocks, latents)


@lru_cache(4)
def _first_signs(seed: int, latents: int) -> np.ndarray:
    """Of a picture's first block, which small pictures have alone."""
    return _signs(seed, np.zeros(1, np.int64), latents)


def _signs(seed: int, blocks: np.ndarray, latents: int) -> np.ndarray:
    draws = (latents + SIGNS_OF_A_DRAW - 1) // SIGNS_OF_A_DRAW  # of a block
    raw = words_at(seed, SIGNS, np.repeat(blocks, draws), np.tile(np.arange(draws), len(blocks)))
    octets = np.ascontiguousarray(raw, "<u8").view(np.uint8)
    bits = np.unpackbits(octets, bitorder="little").reshape(len(blocks), -1)
    return 1 - 2 * bits[:, :latents].astype(np.float32)


@cache
def order(latents: int) -> np.ndarray:
    """The fixed random order in which latents are cut into groups: (D,) a permutation."""
    fours = np.arange((latents + 3) // 4)
    raw = words_at(0, ORDER, np.zeros_like(fours), fours).reshape(-1)
    return np.argsort(raw[:latents], kind="stable")


@cache
def normal_table() -> np.ndarray:
    """Quantiles of the standard normal at (i + 1/2) / 65536: (65536,) float32. Wichura's AS 241."""
    lower = _quantile((np.arange(32768) + 0.5) / 65536)
    upper = -lower[::-1]
    return np.concatenate([lower, upper]).astype(np.float32)


# AS 241, algorithm PPND16: coefficients from the constant term up, numerator then denominator.
CENTRE = (
    (3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
     45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
    (1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
     21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610),
)  # fmt: skip
MIDDLE = (
    (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
     1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
     0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip


def _quantile(p: np.ndarray) -> np.ndarray:
    """Normal quantile for 7e-12 < p <= 1/2, double precision."""
    centred = p - 0.5
    near = 0.180625 - centred * centred
    value = centred * _ratio(CENTRE, near)
    tail = near < 0
    far = np.sqrt(-np.log(p[tail])) - 1.6
    value[tail] = -_ratio(MIDDLE, far)
    return value


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: np.ndarray) -> np.ndarray:
    numerator, denominator = coefficients
    return np.polyval(numerator[::-1], x) / np.polyval(denominator[::-1], x)


def _philox(counter: tuple[np.ndarray, ...], key: tuple[int, int]) -> np.ndarray:
    """Philox4x64-10 on arrays of counters: four (n,) uint64 -> (n, 4) uint64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply(c0, MULTIPLIERS[0])
        high1, low1 = _multiply(c2, MULTIPLIERS[1])
        c0 = high1 ^ c1 ^ np.uint64(k0)
        c1 = low1
        c2 = high0 ^ c3 ^ np.uint64(k1)
        c3 = low0
        k0 = (k0 + WEYL[0]) & WORD
        k1 = (k1 + WEYL[1]) & WORD
    return np.stack([c0, c1, c2, c3], 1)


def _multiply(a: np.ndarray, constant: int) -> tuple[np.ndarray, np.ndarray]:
    """High and low 64 bits of a 64 x 64 bit product, from four 32 x 32 bit products."""
    a0 = a & LOW_HALF
    a1 = a >> HALF_WORD
    b0 = np.uint64(constant) & LOW_HALF
    b1 = np.uint64(constant) >> HALF_WORD
    middle = a1 * b0 + ((a0 * b0) >> HALF_WORD)
    cross = a0 * b1 + (middle & LOW_HALF)
    high = a1 * b1 + (middle >> HALF_WORD) + (cross >> HALF_WORD)
    return high, a * np.uint64(constant)
