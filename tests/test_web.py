"""The decoder in JavaScript shows what the one in Python shows, and refuses what it refuses. Without Node: skipped."""

import base64
import gzip
import itertools
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import browser
import combiner_codec
from combiner_codec import FormatError, decoder
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import header, plane
from combiner_codec.format import prior as priors
from combiner_codec.format.plane import BitReader
from combiner_codec.picture import exact
from combiner_codec.picture.data_url import data_url
from conftest import busy_pictures
from experiments import web_speed
from experiments.reliability import golden, hostile
from scripts import coarse_prior, web_package, web_prior

NODE = shutil.which("node")
SCRIPT, WEB = Path(__file__).with_name("web_decode.mjs"), golden.ROOT / "web"
LARGE = "photograph", "colourful"  # in single precision
OTHERS = {*LARGE, "lossless", "png-inside", "mask", "layer"}  # or partly another format's
EXACT = [name for name in golden.manifest()["files"] if name not in OTHERS]
SIZES = ((1, 1), (7, 5), (16, 16), (32, 32), (33, 20), (64, 64), (40, 24), (9, 70))

needs_node = pytest.mark.skipif(not NODE, reason="no Node here: apt-get install nodejs")
needs_chromium = pytest.mark.skipif(not browser.CHROMIUM, reason="no Chromium here: apt-get install chromium")


@pytest.fixture(scope="session")
def web_priors(tmp_path_factory):
    """All shipped priors and that of the golden files, for the web."""
    folder = tmp_path_factory.mktemp("web")
    for prior in (*map(priors.load, priors.MANIFEST), golden.prior_of(golden.CUSTOM)):
        (folder / f"{prior.name}.cmbw").write_bytes(web_prior.web(prior))
    return sorted(map(str, folder.iterdir()))


def in_node(files, web_priors, max_pixels=2**24):
    """What the decoder in JavaScript makes of files: uint8 (H, W, 4), or a sentence."""
    job = {"priors": web_priors, "files": [base64.b64encode(data).decode() for data in files]}
    if max_pixels:
        job["maxPixels"] = max_pixels
    result = subprocess.run([NODE, SCRIPT], input=json.dumps(job), capture_output=True, text=True, check=True)
    return [told.get("error") or rgba(told) for told in map(json.loads, result.stdout.splitlines())]


def rgba(told):
    data = np.frombuffer(base64.b64decode(told["data"]), np.uint8)
    return data.reshape(told["height"], told["width"], 4)


def in_python(data, prior=None, max_pixels=2**24):
    """The same of the decoder in Python."""
    try:
        pixels = decoder.decode_array(data, prior, threads=1, max_pixels=max_pixels)
    except FormatError as error:
        return error.message
    return np.array(Image.fromarray(pixels).convert("RGBA"))


def random_files(count):
    """Valid files of random bits: all priors, operating points and kinds of picture."""
    rng = np.random.default_rng(0)
    names = [name for name in priors.MANIFEST if name != "combiner-cifar"]
    for n in range(count):
        prior = priors.load(names[n % len(names)])
        points = len(prior.betas)
        head = header.Header(
            prior.number, n % points, (14, 16, 18, 12)[n // 3 % 4], *SIZES[n % len(SIZES)],
            seed=int(rng.integers(1, 2**62)) if n // 3 % 4 == 3 else 0, channels=n % 5 % 3,
            alpha=int(rng.integers(points)) if n % 4 == 0 else None, sharpness=n % 8 if n % 4 == 0 else 0,
            axes=tuple(rng.integers(-128, 128, 3).tolist()) if n % 5 == 0 else None,
        )  # fmt: skip
        yield header.write(head, prior.architecture.block, random_payload(head, prior, rng), prior.digest)


def random_payload(head, prior, rng, most=2**18):
    """Bits that a decoder can read to their end, as many as it reads; most: that they may be."""
    planes = [head] if head.alpha is None else [head, head.of_alpha]
    bits = [random_plane(each, prior, rng, most) for each in planes]
    return np.packbits(np.concatenate(bits)).tobytes()


def random_plane(head, prior, rng, most):
    """Bits of one plane; a few start with numbers of classes that there are not."""
    while True:
        try:
            bits = BitReader(rng.integers(0, 2, most).astype(np.uint8))
            plane.read(bits, head, prior)
            return bits.bits[: bits.position]
        except FormatError:
            pass


ANY_KIND = """
import { readFileSync } from "node:fs";
import { decodeAny } from "%s";
for (const file of JSON.parse(readFileSync(0))) {
  const source = new Uint8Array(Buffer.from(file, "base64"));
  console.log(await decodeAny([], source).catch(({ name, message }) => name === "FormatError" ? message : name));
}
"""

UNPACK = """
import { readFileSync, writeFileSync } from "node:fs";
import { pictureInside } from "%s";
const found = pictureInside(new Uint8Array(readFileSync(process.argv[1])));
if (found) writeFileSync(process.argv[2], found.data);
console.log(found ? found.type : "none");
"""


@needs_node
@pytest.mark.parametrize("codec", ["webp", "png"])
def test_a_browser_gets_the_picture_inside_an_exact_file(tmp_path, monkeypatch, codec):
    if codec == "png":
        monkeypatch.setattr(exact, "_vp8l", lambda *_: bytes(10**6))
    picture = np.array(Image.open(golden.SAMPLES / "hippos-64x48.png").convert("RGB"))
    (tmp_path / "a.cmb").write_bytes(combiner_codec.encode(picture, kind="lossless"))
    (tmp_path / "b.cmb").write_bytes(golden.read("32x32")[0])
    script = UNPACK % (WEB / "exact.js").as_uri()
    said = []
    for name in ("a", "b"):
        files = [str(tmp_path / f"{name}.cmb"), str(tmp_path / f"{name}.out")]
        run = subprocess.run(
            [NODE, "--input-type=module", "-e", script, *files], capture_output=True, text=True, check=True
        )
        said.append(run.stdout.strip())
    assert said == [f"image/{codec}", "none"]
    with Image.open(tmp_path / "a.out") as shown:
        np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), picture)


@needs_node
def test_golden_files_have_the_same_pixels(web_priors):
    files = [golden.read(name) for name in EXACT]
    for (*_, pixels), shown in zip(files, in_node([data for data, *_ in files], web_priors), strict=True):
        np.testing.assert_array_equal(shown, np.array(Image.fromarray(pixels).convert("RGBA")))


@needs_node
def test_node_says_that_it_decodes_no_webp(web_priors, tmp_path):
    """Also of files with other faults, which are told first."""
    names = ["lossless", "png-inside", "mask", "layer"]
    wrong = header.HEADER.pack(header.MAGIC, 0x30, 62) + bytes([63, 63, 62, 0, 1, 7])  # a sharpness of 1
    files = [golden.read(name)[0] for name in names] + [wrong + bytes(1)]
    script = ANY_KIND % (WEB / "exact.js").as_uri()
    job = json.dumps([base64.b64encode(data).decode() for data in files])
    run = subprocess.run([NODE, "--input-type=module", "-e", script], input=job, capture_output=True, text=True)
    told = run.stdout.splitlines()
    assert len(told) == 5, run.stderr
    assert all("Node has no decoder" in line or "made with the prior photo" in line for line in told[:4])
    assert "Node has no decoder" in told[0]
    assert told[4] == "a header field is out of range"
    for line in in_node(files[2:4], web_priors):
        assert line == "a WebP or PNG is inside, which this decoder leaves to the browser"


@needs_node
@pytest.mark.parametrize("name", LARGE)
def test_a_large_one_has_them_but_for_a_step_in_few_samples(web_priors, name):
    data, _, pixels = golden.read(name)
    (shown,) = in_node([data], web_priors)
    count, steps = golden.moved(shown[..., :3], pixels)
    assert steps <= 1 and count <= golden.LOOSE * pixels.size


@needs_node
def test_a_wide_one_is_completed_part_by_part(web_priors):
    """32 tiles at once, and what they look at on either side."""
    (picture,) = busy_pictures(1, 1024)
    photo = priors.load("photo")
    (file,) = encode_arrays([picture[:96]], photo, Settings(0.01, "fast", kind="inr"))
    _, network = decoder.shared_parts(decoder.parse(file.data).colour)
    assert network.completes
    (shown,) = in_node([file.data], web_priors)
    count, steps = golden.moved(shown[..., :3], file.pixels)
    assert steps <= 1 and count <= golden.LOOSE * file.pixels.size


@needs_node
def test_random_files_have_the_same_pixels(web_priors):
    files = list(random_files(200))
    for data, shown in zip(files, in_node(files, web_priors), strict=True):
        np.testing.assert_array_equal(shown, in_python(data))


@needs_node
@pytest.mark.parametrize("size", [(700, 600), (9000, 20), (20, 9000)])
def test_large_ones_are_decoded_in_parts(web_priors, size):
    """Several rows and columns of parts."""
    prior = priors.load("web")
    head = header.Header(prior.number, 1, 16, *size)
    payload = random_payload(head, prior, np.random.default_rng(2), 2**21)
    data = header.write(head, prior.architecture.block, payload, prior.digest)
    (shown,) = in_node([data], web_priors)
    count, steps = golden.moved(shown, in_python(data))
    assert steps <= 1 and count <= golden.LOOSE * shown.size


@needs_node
def test_pictures_above_a_megapixel_of_whole_tiles_are_refused_unless_told_otherwise(web_priors):
    prior = priors.load("web")
    cases = list(itertools.product(((2**20, 2), (2**16 + 1, 1), (1, 2**16 + 16), (1025, 1024)), (0, header.ONE_COLOUR)))
    heads = [header.Header(prior.number, point, 16, *size) for size, point in cases]
    files = [header.write(head, prior.architecture.block, bytes([1, 2, 3]), prior.digest) for head in heads]
    for ((width, height), point), data, told in zip(cases, files, in_node(files, web_priors, None), strict=True):
        if point == header.ONE_COLOUR and width * height <= 2**20:
            assert (told[..., 2] == 3).all()
        else:
            assert told == in_python(data, max_pixels=2**20) and told.endswith("are more than 1048576")


@needs_node
@pytest.mark.parametrize("name", ["alpha", "custom"])
def test_damaged_files_are_refused_in_the_same_words(web_priors, name):
    data, prior, _ = golden.read(name)
    files = [*hostile.prefixes(data), *hostile.flips(data)]
    assert in_node(files, web_priors) == [in_python(file, prior) for file in files]


@needs_node
def test_so_are_damaged_ones_with_a_right_checksum(web_priors):
    files = [file for name in ("1x1", "32x32", "icon", "siren") for file in hostile.edits(golden.read(name)[0], 40)]
    files = [hostile.repaired(file) for file in files] + [file for _, file in hostile.bombs()]
    for file, shown in zip(files, in_node(files, web_priors), strict=True):
        np.testing.assert_array_equal(shown, in_python(file))


@pytest.fixture(scope="module")
def smaller(tmp_path_factory):
    """The second operating point of the shipped prior for photographs with a few classes."""
    return web_prior.smaller(priors.load("photo"), tmp_path_factory.mktemp("less") / "less.npz", [1], 12, 5, 4)


def test_a_smaller_prior_is_a_prior_of_its_own(smaller):
    full, less = priors.load("photo").operating_point(1), smaller.operating_point(0)
    assert (smaller.betas, smaller.number) == ([full.beta], header.CUSTOM)
    assert (less.single, len(less.merged), less.contexts.shape) == (12, 5, (3, 18, 17))
    np.testing.assert_allclose(less.shared["w3"], full.shared["w3"], rtol=2**-5, atol=2**-19)
    assert len(gzip.compress(web_prior.web(smaller))) < 50_000


@needs_node
def test_its_files_decode_in_javascript(smaller, tmp_path):
    path = tmp_path / "less.cmbw"
    path.write_bytes(gzip.compress(web_prior.web(smaller)))
    head = header.Header(smaller.number, 0, 16, 90, 70, prior_hash=smaller.header_hash)
    payload = random_payload(head, smaller, np.random.default_rng(1))
    data = header.write(head, smaller.architecture.block, payload, smaller.digest)
    (shown,) = in_node([data], [str(path)])
    np.testing.assert_array_equal(shown, in_python(data, smaller))


def test_a_coarse_prior_has_its_floats_in_bytes(smaller, tmp_path):
    made = coarse_prior.coarse(smaller, tmp_path / "coarse.npz")
    full, less = smaller.operating_point(0), made.operating_point(0)
    np.testing.assert_allclose(less.shared["w2"], full.shared["w2"], atol=0.05 * full.shared["w2"].std())
    assert abs(less.tile_bits - full.tile_bits).max() < 0.1 * full.tile_bits.max()
    floats = [made.arrays[f"00.{name}"] for name in ("mean", "noise", "w2", "b2", "w4", "b4", "w6")]
    assert all(web_prior.common_step(values) for values in floats)
    sizes = [len(gzip.compress(web_prior.web(prior))) for prior in (smaller, made)]
    assert sizes[1] < 0.7 * sizes[0]


@needs_node
def test_its_files_decode_in_javascript_too(smaller, tmp_path):
    made = coarse_prior.coarse(smaller, tmp_path / "coarse.npz")
    path = tmp_path / "coarse.cmbw"
    path.write_bytes(web_prior.web(made))
    head = header.Header(made.number, 0, 16, 90, 70, prior_hash=made.header_hash)
    payload = random_payload(head, made, np.random.default_rng(1))
    data = header.write(head, made.architecture.block, payload, made.digest)
    (shown,) = in_node([data], [str(path)])
    np.testing.assert_array_equal(shown, in_python(data, made))


def test_a_page_without_a_build_loads_forty_kilobytes():
    """Script and prior, gzipped: 12 and 28 kB at most."""
    sizes = []
    for text in (web_package.jsmin(web_package.bundled(WEB / "page.js")), web_package.packed(priors.load("nano"))):
        sizes.append(len(gzip.compress(text.encode(), 9)))
    assert sizes[0] <= 12_000 and sizes[1] <= 28_000


PAGE = """<body><img-cmb src="{url}"></img-cmb><script type="module">
import {{ Combiner }} from "./combiner.js";
const element = document.querySelector("img-cmb");
const heard = (name) => new Promise((done) => element.addEventListener(name, done, {{ once: true }}));
const first = heard("load");
await Combiner.load("./prior.cmbw");
await first;
const canvas = element.shadowRoot.querySelector("canvas");
const {{ width, height, data }} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
const text = btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""));
const refused = heard("error");
element.maxPixels = 3071;
const {{ message }} = await refused, again = heard("load");
element.setAttribute("max-pixels", 3072);
await again;
tell({{ width, height, data: text, message, limit: element.maxPixels }});
</script>"""


@needs_chromium
def test_the_element_paints_the_same_pixels_in_chromium_and_has_a_limit(web_priors, tmp_path):
    data, _, pixels = golden.read("64x48")
    prior = next(Path(path) for path in web_priors if path.endswith("photo.cmbw"))
    (tmp_path / "prior.cmbw").write_bytes(gzip.compress(prior.read_bytes(), 1))
    (tmp_path / "combiner.js").write_text(web_package.bundled(WEB / "combiner.js"))
    told = browser.told(tmp_path, PAGE.format(url=data_url(data)))
    np.testing.assert_array_equal(rgba(told)[..., :3], pixels)
    assert (told["message"], told["limit"]) == ("64 x 48 pixels are more than 3071", 3072)


KINDS = """<script type="module">
import {{ Combiner }} from "./combiner.js";
const combiner = await Combiner.load("./prior.cmbw");
const text = (data) => {{
  const parts = [];
  for (let at = 0; at < data.length; at += 4096) parts.push(String.fromCharCode(...data.subarray(at, at + 4096)));
  return btoa(parts.join(""));
}};
const found = [];
for (const name of {names}) {{
  const bytes = new Uint8Array(await (await fetch(name)).arrayBuffer());
  const shown = await combiner.decodeAny(bytes).catch((error) => error);
  const {{ width, height, data, message = "" }} = shown;
  found.push({{ width, height, data: data ? text(data) : "", message }});
}}
tell(found);
</script>"""


@needs_chromium
def test_chromium_shows_files_with_a_webp_or_png_inside(web_priors, tmp_path):
    """Alone, as a mask and as a layer; it refuses a layer that is half transparent, and one of another size."""
    prior = next(Path(path) for path in web_priors if path.endswith("photo.cmbw"))
    (tmp_path / "prior.cmbw").write_bytes(gzip.compress(prior.read_bytes(), 1))
    (tmp_path / "combiner.js").write_text(web_package.bundled(WEB / "combiner.js"))
    names = ["lossless", "png-inside", "mask", "layer", "64x48"]
    for name in names:
        (tmp_path / f"{name}.cmb").write_bytes(golden.read(name)[0])
    contents = decoder.parse(golden.read("layer")[0])
    half = np.zeros((128, 192, 4), np.uint8)
    half[3, 3] = 100
    for name, layer in (("half", half), ("smaller", half[1:])):
        over = plane.ExactPlane(contents.header.of_layer, contents.prior, *exact.encoded(layer))
        payload = plane.write(contents.colour, over)
        (tmp_path / f"{name}.cmb").write_bytes(header.write(contents.header, 64, payload, contents.prior.digest))
    files = [f"{name}.cmb" for name in [*names, "half", "smaller"]]
    told = browser.told(tmp_path, KINDS.format(names=json.dumps(files)))
    for name, shown in zip(names, told, strict=False):
        assert not shown["message"], name
        expected = np.array(Image.fromarray(golden.read(name)[2]).convert("RGBA"))
        found = rgba(shown)
        opaque = np.isin(expected[..., 3], [0, 255])  # a canvas rounds colours that are half transparent
        seen = expected[..., 3] > 0
        assert (found[..., 3] == expected[..., 3]).all(), name
        steps = np.abs(found[..., :3].astype(int) - expected[..., :3])
        assert steps[opaque & seen].max() <= (name == "layer"), name  # single precision: see golden.LOOSE
        assert (steps[seen] > 0).mean() <= 0.05, name
    assert [shown["message"] for shown in told[5:]] == [
        "a layer is half transparent",
        "an exact plane is of another size than its file",
    ]


@needs_chromium
def test_milliseconds_of_a_preview_can_be_measured():
    prior = priors.load("nano")
    head = header.Header(prior.number, 1, 16, 64, 64)
    payload = random_payload(head, prior, np.random.default_rng(3))
    told = web_speed.measured(header.write(head, prior.architecture.block, payload, prior.digest), prior)
    assert len(told["parse"]) == 5 and len(told["decode"]) == 150 and min(map(min, told.values())) > 0
