"""Priors from strangers: what is wrong is refused when it is loaded, in Python and in JavaScript alike."""

import base64
import gzip
import io
import json
import shutil
import struct
import subprocess
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from combiner_codec import FormatError, decoder
from combiner_codec.format import header, prior_check
from combiner_codec.format import prior as priors
from experiments.reliability import hostile, prior_mutants
from experiments.reliability.prior_mutants import HEIGHT, WIDTH, npz, originals, some_file
from scripts import web_prior

NODE = shutil.which("node")
SCRIPT = Path(__file__).with_name("web_priors.mjs")
MUTANTS = 4000
EDITS = 1000  # of bytes

needs_node = pytest.mark.skipif(not NODE, reason="no Node here: apt-get install nodejs")


def loaded(data):
    """The prior of a file's bytes, or None where it is refused; any other end is an error of the loader."""
    try:
        return priors.parse(data, "mutant")
    except FormatError:
        return None


def for_the_web(content, digest):
    """The same content as a prior for the web."""
    return web_prior.written("mutant", header.CUSTOM, digest, content.metadata, content.arrays)


def decoded(data, prior):
    """Pixels, or None where the file is refused."""
    try:
        with np.errstate(all="ignore"):  # of weights of any size
            return decoder.decode_array(data, prior, threads=1)
    except FormatError:
        return None


def in_node(pairs):
    """What the decoder in JavaScript makes of priors, and of a file with each."""
    job = b"".join(struct.pack("<I", len(data)) + data for pair in pairs for data in pair)
    result = subprocess.run([NODE, SCRIPT], input=job, capture_output=True, check=True)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    crashes = [answer["crash"] for each in told for answer in each.values() if "crash" in answer]
    assert not crashes, crashes[0]
    return told


@pytest.fixture(scope="module")
def mutants():
    """Contents, their files, and the priors of those that Python takes."""
    contents = [*originals(), *prior_mutants.mutants(MUTANTS)]
    files = [npz(content) for content in contents]
    return contents, files, [loaded(data) for data in files]


def test_every_mutant_is_refused_or_decodes(mutants):
    contents, _, found = mutants
    taken = [(content, prior) for content, prior in zip(contents, found, strict=True) if prior]
    assert len(originals()) < len(taken) < len(contents) / 2
    shown = [decoded(some_file(prior), prior) for _, prior in taken]
    assert all(pixels is None or pixels.shape[:2] == (HEIGHT, WIDTH) for pixels in shown)
    assert sum(pixels is not None for pixels in shown) > len(taken) / 2


@needs_node
def test_javascript_takes_what_python_takes_and_shows_the_same(mutants):
    chosen = [each for each in zip(*mutants, strict=True) if each[0].web]
    pairs = []
    for content, _, prior in chosen:
        digest = prior.digest if prior else bytes(32)
        pairs.append((for_the_web(content, digest), some_file(prior) if prior else b""))
    same = []
    for (content, _, prior), pair, told in zip(chosen, pairs, in_node(pairs), strict=True):
        assert ("error" in told["prior"]) == (prior is None), (content.change, told)
        if prior is None:
            continue
        pixels = decoded(pair[1], prior)
        assert ("error" in told["file"]) == (pixels is None), (content.change, told)
        if pixels is not None:
            theirs = np.frombuffer(base64.b64decode(told["file"]["data"]), np.uint8).reshape(HEIGHT, WIDTH, 4)
            same.append(np.array_equal(theirs[..., :3], pixels))
    assert np.mean(same) > 0.9  # numbers that are far too large differ


@pytest.mark.parametrize("number", range(len(originals())))
def test_changed_bytes_are_refused_or_change_nothing(number):
    original = originals()[number]
    data = npz(original)
    for changed in hostile.edits(data, EDITS // len(originals()), seed=number):
        prior = loaded(changed)
        if prior:
            assert prior.arrays.keys() == {*original.arrays, "metadata"}


@needs_node
def test_changed_bytes_of_a_prior_for_the_web_end_in_no_other_error():
    pairs = []
    for original in originals():
        data = for_the_web(original, bytes(32))
        pairs += [(changed, b"") for changed in hostile.edits(data, EDITS // 4)]
        pairs += [(changed, b"") for changed in hostile.edits(gzip.compress(data), 50)]
    told = in_node(pairs)
    assert sum("error" in each["prior"] for each in told) > len(pairs) / 2


def with_metadata(change):
    """The first original with something of its metadata changed."""
    metadata = json.loads(json.dumps(originals()[0].metadata))
    change(metadata, metadata["architecture"], metadata["architecture"]["layers"])
    return replace(originals()[0], metadata=metadata)


def with_arrays(**arrays):
    """The first original with other arrays of its first operating point; None takes one away."""
    found = dict(originals()[0].arrays)
    for name, array in arrays.items():
        if array is None:
            del found[f"00.{name}"]
        else:
            found[f"00.{name}"] = array
    return replace(originals()[0], arrays=found)


TABLES = {name.removeprefix("00."): array for name, array in originals()[0].arrays.items() if name.startswith("00.")}
WRONG = {
    "no cost indices": (with_arrays(kl=None), "00.kl is missing"),
    "no bias": (with_arrays(b3=None), "00.b3 is missing"),
    "indices as floats": (with_arrays(kl=TABLES["kl"].astype(float)), "00.kl is of type float64"),
    "indices as words": (with_arrays(kl=TABLES["kl"].astype("U3")), "no plain numbers"),
    "indices in no row": (with_arrays(kl=TABLES["kl"][:0]), "00.kl is empty"),
    "one index": (with_arrays(kl=np.uint8(3)), "00.kl is empty"),
    "few columns": (with_arrays(kl=TABLES["kl"][..., :5]), "00.kl has shape"),
    "means that are no numbers": (with_arrays(mean=np.full_like(TABLES["mean"], np.nan)), "not finite"),
    "endless weights": (with_arrays(w2=np.full_like(TABLES["w2"], np.inf)), "not finite"),
    "few means": (with_arrays(mean=TABLES["mean"][:3]), "00.mean has shape"),
    "negative noise": (with_arrays(noise=-TABLES["noise"]), "noise is not positive"),
    "no noise": (with_arrays(noise=0 * TABLES["noise"]), "noise is not positive"),
    "weights of fewer outputs": (with_arrays(w4=TABLES["w4"][..., :1]), "00.w4 has shape"),
    "a table of no name": (with_arrays(zz=TABLES["mean"]), "belongs to no operating point"),
    "other bytes first": (with_arrays(mean=TABLES["mean"].astype(">f2")), "00.mean is of type >f2"),
    "tables of more classes": (with_arrays(contexts=np.zeros((3, 5, 4), np.int8)), "00.contexts has shape"),
    "modulations without scales": (with_arrays(modulation_scale=None), "00.modulation_scale is missing"),
    "more points than tables": (with_metadata(lambda m, a, la: m.update(betas=[1, 1, 1])), "02.kl is missing"),
    "fewer points than tables": (with_metadata(lambda m, a, la: m.update(betas=[1])), "belongs to no operating point"),
    "40 points": (with_metadata(lambda m, a, la: m.update(betas=[1] * 40)), "betas are not a list of 1 to 30"),
    "a point of beta 0": (with_metadata(lambda m, a, la: m.update(betas=[1, 0])), "not positive"),
    "points in a word": (with_metadata(lambda m, a, la: m.update(betas="x")), "betas are not a list"),
    "half a bit": (with_metadata(lambda m, a, la: m.update(group_bits=2.5)), "group_bits is 2.5"),
    "bits in a word": (with_metadata(lambda m, a, la: m.update(group_bits="6")), "group_bits is '6'"),
    "an odd index": (with_metadata(lambda m, a, la: m.update(index_bits=15)), "index_bits is odd"),
    "huge tiles": (with_metadata(lambda m, a, la: a.update(tile=10**6)), "tile is 1000000"),
    "no tiles": (with_metadata(lambda m, a, la: a.update(tile=0)), "tile is 0"),
    "tiles in a word": (with_metadata(lambda m, a, la: a.update(tile="4")), "tile is '4'"),
    "huge blocks": (
        with_metadata(lambda m, a, la: (a.update(side=64, tile=8), la[0].update(inputs=64))),
        "a block has more than",
    ),
    "a pyramid higher than its block": (with_metadata(lambda m, a, la: a.update(pyramid=2)), "no whole number"),
    "a pyramid in the ground": (with_metadata(lambda m, a, la: a.update(pyramid=-1)), "pyramid is -1"),
    "a pyramid of no costs": (with_metadata(lambda m, a, la: m.pop("kind_costs")), "kind_costs is not a list"),
    "costs of one point": (with_metadata(lambda m, a, la: m["kind_costs"].pop()), "kind_costs is not a list"),
    "costs of one kind": (with_metadata(lambda m, a, la: m["kind_costs"][1].pop()), "does not tell 2 kinds"),
    "costs of two colours": (with_metadata(lambda m, a, la: m["kind_costs"][1][0].pop()), "does not tell 3 colours"),
    "half a cost": (
        with_metadata(lambda m, a, la: m["kind_costs"][0].__setitem__(0, [0, 0.5, 0])),
        "kind_costs is 0.5",
    ),
    "a huge cost": (with_metadata(lambda m, a, la: m["kind_costs"][0].__setitem__(0, [0, 5000, 0])), "not an integer"),
    "other features": (with_metadata(lambda m, a, la: a.update(features="x")), "features is 'x'"),
    "no layers": (with_metadata(lambda m, a, la: a.update(layers=[])), "layers are not a list"),
    "a layer's output that is not there": (with_metadata(lambda m, a, la: la[4].update(residual_of=4)), "residual_of"),
    "an even window": (with_metadata(lambda m, a, la: la[2].update(window=2)), "window is even"),
    "a fold of 0": (with_metadata(lambda m, a, la: la[2].update(fold=0)), "fold is 0"),
    "a fold of 3": (with_metadata(lambda m, a, la: la[2].update(fold=3)), "fold is not a power of two"),
    "a factor that is no number": (with_metadata(lambda m, a, la: la[3].update(omega=np.nan)), "NaN is not JSON"),
    "another kind": (with_metadata(lambda m, a, la: la[2].update(kind="exec")), "kind is 'exec'"),
    "no rate of learning": (with_metadata(lambda m, a, la: m.pop("rate")), "rate is None"),
    "a list": (replace(originals()[0], metadata=[1]), "not an object"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    content, message = WRONG[name]
    with pytest.raises(FormatError, match=f"mutant: not a prior file .*{message}"):
        priors.parse(npz(content), "mutant")


def archive_of(members, method=zipfile.ZIP_DEFLATED):
    """A zip archive of (name, bytes)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def npy(shape, data=b"", dtype="|u1"):
    """A member that claims a shape, and has some bytes."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def members_of(content):
    """Names and bytes of a right prior's members."""
    with zipfile.ZipFile(io.BytesIO(npz(content))) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


ZEROS = 80 << 20
BOMBS = {
    "a bomb": [("99.zz.npy", npy((ZEROS,), bytes(ZEROS)))],
    "a huge claim": [("00.mean.npy", npy((1 << 45,)))],
    "a claim of two": [("00.mean.npy", npy((1 << 20, 1 << 22)))],
    "another folder": [("../../escaped", b"x")],
    "a pickle": [("00.kl.npy", npy((1,), b"cos\nsystem\n(S'false'\ntR.", "|O"))],
    "nothing": [("00.zz.npy", b"")],
    "deep brackets": [("metadata.npy", npy((100_000,), b"[" * 100_000))],
}


@pytest.mark.parametrize("name", BOMBS)
def test_sizes_are_known_before_anything_is_unpacked(name):
    replaced = {bomb for bomb, _ in BOMBS[name]}
    members = [member for member in members_of(originals()[0]) if member[0] not in replaced]
    data = archive_of([*members, *BOMBS[name]])
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="not a prior file"):
            priors.parse(data, "mutant")
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_two_members_of_one_name_are_refused():
    (name, data), *rest = members_of(originals()[0])
    with pytest.warns(UserWarning, match="Duplicate"):
        doubled = archive_of([(name, data), (name, data), *rest])
    with pytest.raises(FormatError, match="two members"):
        priors.parse(doubled, "mutant")


def test_a_file_without_end_is_read_to_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(priors, "UNPACKED", 1000)
    (tmp_path / "long.npz").write_bytes(bytes(1001))
    with pytest.raises(FormatError, match="more than 1000 bytes"):
        priors.load_file(tmp_path / "long.npz")


@needs_node
def test_javascript_refuses_bombs():
    head = web_prior.MAGIC + struct.pack("<I", 10)
    long = web_prior.MAGIC + struct.pack("<I", 2**31) + bytes(100)
    huge = with_metadata(lambda m, a, la: a.update(tile=256, side=64))
    bombs = (head, long, b"", gzip.compress(bytes(ZEROS)), for_the_web(huge, bytes(32)))
    told = in_node([(data, b"") for data in bombs])
    assert all("error" in each["prior"] for each in told)


@pytest.mark.parametrize("name", priors.MANIFEST)
def test_released_priors_keep_every_rule(name):
    checked = priors.parse(priors.load(name).data, name)
    assert checked.digest == priors.load(name).digest
    assert checked.architecture == priors.load(name).architecture
    assert type(priors.load(name).arrays) is not dict  # these are not unpacked before they are asked for


def test_integers_may_be_spelled_with_a_point():
    content = with_metadata(lambda m, a, la: (a.update(tile=4.0), m.update(group_bits=6.0)))
    prior = loaded(npz(content))
    assert decoded(some_file(prior), prior) is not None


def test_limits_are_those_of_the_page():
    page = (Path(__file__).parents[1] / "FORMAT.md").read_text(encoding="utf-8")
    assert f"{prior_check.UNPACKED:,}" in page and f"{prior_check.BLOCK_LATENTS:,}" in page
    assert f"{prior_check.MULTIPLIES:,}" in page
