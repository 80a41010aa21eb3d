"""The npm package: installed in an empty project, in Node, for tsc, and as an element in Chromium."""

import base64
import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

import browser
from combiner_codec import decoder
from combiner_codec.format import header
from combiner_codec.format import prior as priors
from combiner_codec.picture.data_url import data_url
from experiments.reliability.golden import ROOT
from scripts import web_package
from test_web import random_payload

needs_npm = pytest.mark.skipif(not shutil.which("npm"), reason="no npm here: apt-get install npm")
needs_tsc = pytest.mark.skipif(not shutil.which("tsc"), reason="no tsc here: npm install -g typescript")
needs_chromium = pytest.mark.skipif(not browser.CHROMIUM, reason="no Chromium here: apt-get install chromium")


def preview(seed, width=64, height=64, name="nano", **more):
    """A file of random bits that decodes."""
    prior = priors.load(name)
    head = header.Header(prior.number, seed % len(prior.betas), 16, width, height, **more)
    payload = random_payload(head, prior, np.random.default_rng(seed))
    return header.write(head, prior.architecture.block, payload, prior.digest)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "npm"
    web_package.build(folder)
    return folder


@pytest.fixture(scope="module")
def project(package, tmp_path_factory):
    """An empty project with the packed package installed."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"type": "module"}')
    tarball = web_package.pack(package, folder)
    options = ("--offline", "--no-audit", "--no-fund", "--silent")
    subprocess.run(["npm", "install", *options, tarball], cwd=folder, check=True)
    return folder


def in_project(folder, script):
    """What a module of a project prints, as JSON."""
    (folder / "main.js").write_text(script)
    done = subprocess.run(["node", "main.js"], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_package_is_what_its_manifest_says(package):
    manifest = json.loads((package / "package.json").read_text())
    assert sorted(path.name for path in package.iterdir()) == sorted(
        [*manifest["files"], "package.json", "README.md", "LICENSE"]
    )
    assert "dependencies" not in manifest and manifest["version"] == web_package.__version__
    for name in manifest["sideEffects"]:
        assert (package / name).is_file()


SHOWN = """
import { decode, toDataURL, averageColor, size } from "combiner-preview";
import "combiner-preview/element"; // does nothing without a browser
const [url, grey, coloured] = %s;
const bytes = Uint8Array.from(atob(url.split(",")[1]), (c) => c.charCodeAt(0));
const shown = ({ width, height, data }) => [width, height, Buffer.from(data).toString("base64")];
console.log(JSON.stringify({
  sources: [url, bytes, bytes.buffer, Buffer.from(bytes), url + "\\n", encodeURI(url), url.replace("data", "DATA")]
    .map((source) => shown(decode(source))),
  png: [toDataURL(url), toDataURL(grey)], size: [size(url), size(grey)],
  colour: [averageColor(coloured), averageColor(url)],
}));
"""


@needs_npm
def test_it_decodes_in_node(project):
    square, wide = preview(1), preview(2, 64, 40, alpha=1)
    told = in_project(project, SHOWN % json.dumps([data_url(square), data_url(wide), data_url(square, "#102030")]))
    pixels = np.array(Image.fromarray(decoder.decode_array(square)).convert("RGBA"))
    for width, height, data in told["sources"]:
        found = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
        np.testing.assert_array_equal(found, pixels)
    for url, data in zip(told["png"], (square, wide), strict=True):
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            np.testing.assert_array_equal(np.asarray(image), decoder.decode_array(data))
    assert told["size"] == [{"width": 64, "height": 64}, {"width": 64, "height": 40}]
    assert told["colour"] == ["#102030", None]


REFUSED = """
import { decode, FormatError } from "combiner-preview";
const [url, other, large] = %s;
const cases = [other, large, "", "words", "data:image/x-combiner;base64,***", url.split(",")[1], url.slice(0, -8), null,
  undefined, 7, {}, [1, 2], new Uint8Array(0), new Uint8Array(40)];
const tried = (source) => {
  try {
    return decode(source) && "shown";
  } catch (error) {
    return error instanceof FormatError ? error.message : `crash: ${error.stack}`;
  }
};
console.log(JSON.stringify(cases.map(tried)));
"""


@needs_npm
def test_everything_else_is_refused_in_plain_words(project):
    files = [preview(1), preview(1, name="photo"), preview(1, 272, 256)]
    told = in_project(project, REFUSED % json.dumps([data_url(data) for data in files]))
    assert told[:2] == ["made with the prior photo; this page has nano", "272 x 256 pixels are more than 65536"]
    assert not [line for line in told if line == "shown" or line.startswith("crash")]


TYPED = """
import { averageColor, decode, FormatError, size, toDataURL, type Picture } from "combiner-preview";
import "combiner-preview/element";
const picture: Picture = decode("data:", { maxPixels: 4096 });
const image = new ImageData(picture.data, picture.width, picture.height);
const url: string = toDataURL(new Uint8Array(8)), colour: string | null = averageColor(url), { width } = size(url);
const element = document.querySelector("img-cmb");
if (element) element.src = url;
// @ts-expect-error
decode(7);
export { colour, FormatError, image, width };
"""


@needs_npm
@needs_tsc
def test_its_types_are_right(project):
    (project / "typed.ts").write_text(TYPED)
    options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"]
    done = subprocess.run(["tsc", *options, "typed.ts"], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


ELEMENT = """<style>.gone { display: none } .block { display: block }</style>
<body><img-cmb id="early" src="URL"></img-cmb><script type="module">
const make = (attributes = {}) => {
  const made = document.createElement("img-cmb");
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return document.body.appendChild(made);
};
const heard = (element) => new Promise((done) => {
  for (const name of ["load", "error"]) {
    element.addEventListener(name, ({ type, message }) => done([type, message].filter(Boolean)), { once: true });
  }
});
const display = (element) => getComputedStyle(element).display;
const area = (element) => [element.offsetWidth, element.offsetHeight];
const told = {};
const late = make();
late.src = "URL"; // before the element is defined
const first = [heard(early), heard(late)];
const { serve } = await import("./element.js");
serve(Promise.reject(new Error("no such prior")));
told.failed = await Promise.all(first);
const again = heard(early);
await import("./combiner-preview.js");
told.again = await again;
await import("./combiner-preview.js?copy");
told.light = early.outerHTML.includes("canvas") || early.childNodes.length;
const shown = (more) => make({ src: "URL", ...more });
told.display = [{ hidden: "" }, { class: "gone" }, { class: "block" }, {}].map((more) => display(shown(more)));
told.area = [{}, { width: 128 }, { width: 30, height: 20 }].map((more) => area(shown(more)));
told.events = [];
const sources = ["", "data:image/x-combiner;base64,%%%", "photo.jpg", "URL"];
for (const src of sources) told.events.push(await heard(make({ src })));
const changed = make(), last = heard(changed);
for (let i = 0; i < 30; i++) changed.src = i % 2 ? "URL" : "broken";
told.changed = await last;
changed.src = null;
told.cleared = [changed.hasAttribute("src"), changed.shadowRoot.children.length];
const waiting = make({ hidden: "", src: "URL" });
told.emptied = [];
for (const name of ["load", "error"]) waiting.addEventListener(name, () => told.emptied.push(name));
await new Promise((done) => setTimeout(done, 100)); // it is observed, and not near
waiting.src = null;
waiting.hidden = false;
waiting.width = waiting.height = 10;
const small = make({ "max-pixels": 100, src: "URL" });
told.limit = await heard(small);
const cloned = early.cloneNode(true), copied = heard(cloned);
document.body.append(cloned);
told.cloned = await copied;
let ticks = 0;
const timer = setInterval(() => ticks++, 1);
const many = document.createElement("div");
many.innerHTML = '<img-cmb src="URL" width="8"></img-cmb>'.repeat(100);
document.body.prepend(many);
await Promise.all(Array.from(many.children, heard));
told.ticks = ticks;
tell(told);
</script>"""


@needs_chromium
def test_the_element_keeps_a_pages_rules(package):
    told = browser.told(package, ELEMENT.replace("URL", data_url(preview(2, 64, 32))))
    assert told["failed"] == [["error", "no such prior"]] * 2 and told["again"] == ["load"]
    assert told["light"] == 0  # frameworks that compare elements find nothing added
    assert told["display"] == ["none", "none", "block", "inline-block"]
    assert told["area"] == [[64, 32], [128, 64], [30, 20]]
    *refused, shown = told["events"]
    assert [kind for kind, _ in refused] == ["error"] * 3 and shown == ["load"]
    assert told["changed"] == ["load"] and told["cleared"] == [False, 0]
    assert told["emptied"] == []
    assert told["limit"] == ["error", "64 x 32 pixels are more than 100"] and told["cloned"] == ["load"]
    assert told["ticks"] >= 50  # of 100 pictures: the page had turns between them


LAID_OUT = """<script type="module">
const pictures = [...document.querySelectorAll("img-cmb")];
await Promise.all(pictures.map((picture) => new Promise((done) => picture.addEventListener("load", done))));
const place = (element) => (({ x, y, width, height }) => [x, y, width, height])(element.getBoundingClientRect());
tell({ previews: pictures.map(place), photographs: [...document.querySelectorAll("img")].map(place) });
</script>"""


@needs_chromium
def test_the_gallery_of_the_page_for_web_teams_lies_side_by_side(package):
    """Every photograph lies on its own preview, and on no other."""
    page = (ROOT / "docs" / "web.md").read_text()
    gallery = re.search(r"```html\n(.*?)```", page, re.S)[1]
    urls = iter([data_url(preview(seed)) for seed in (1, 2)])
    gallery = re.sub(r'"data:image/x-combiner[^"]*"', lambda _: f'"{html.escape(next(urls))}"', gallery)
    told = browser.told(package, LAID_OUT + gallery)
    assert told["previews"] == told["photographs"] and len(told["previews"]) == 2
    (left, top, width, height), (other_left, other_top, *_) = told["previews"]
    assert (width, height) == (600, 400)
    assert other_left >= left + width or other_top >= top + height
