"""The recipes of web/recipes: built with Vite, from the packed package, and shown in headless Chromium."""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import browser
from combiner_codec import decoder
from combiner_codec.picture.data_url import from_data_url
from scripts import web_recipes
from scripts.web_recipes import NAMES, PHOTOGRAPHS, PLACE

INSTALLED = all((PLACE / name / "node_modules").is_dir() for name in NAMES)
pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not INSTALLED, reason="build/web-recipes has no node_modules: make web-recipes"),
    pytest.mark.skipif(not browser.CHROMIUM, reason="no Chromium here: apt-get install chromium"),
]


@pytest.fixture(scope="module", autouse=True)
def _installed():
    """The package as it is now."""
    web_recipes.install(offline=True)


def built(name, **environment):
    """What a recipe's own command has built: a folder."""
    folder = PLACE / name
    shutil.rmtree(folder / "dist", ignore_errors=True)
    command = ["npm", "run", "build"]
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


SHOWN = """<script>
const complaints = [];
for (const level of ["error", "warn"]) console[level] = (...words) => complaints.push(words.join(" "));
const pictures = () => [...document.querySelectorAll("img-cmb")];
const hydrated = (element) => Object.keys(element).some((key) => key.startsWith("__react"));
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
let loads = 0;
document.addEventListener("load", ({ target }) => (loads += target.localName === "img-cmb"), true);
addEventListener("load", async () => {
  while (loads < COUNT || (HYDRATES && !pictures().every(hydrated))) await pause(20);
  await pause(200); // for what would take pictures away again
  const shown = pictures().map(({ shadowRoot }) => {
    const canvas = shadowRoot.querySelector("canvas");
    const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return [canvas.width, canvas.height, btoa(String.fromCharCode(...image.data))];
  });
  tell({ shown, complaints });
});
</script>"""


def told(dist, hydrates=False):
    """What a built page shows; hydrates: when React has taken it over."""
    script = SHOWN.replace("COUNT", str(len(PHOTOGRAPHS))).replace("HYDRATES", json.dumps(hydrates))
    return browser.told(dist, script + (dist / "index.html").read_text())


def assert_photographs_are_shown(shown, name):
    """They have the decoder's pixels, and nearly the average colour of their photographs."""
    lines = (PLACE / name / "previews.jsonl").read_text().splitlines()
    assert len(shown) == len(lines) == len(PHOTOGRAPHS)
    for (width, height, data), line in zip(shown, lines, strict=True):
        preview = json.loads(line)
        pixels = np.frombuffer(b64decode(data), np.uint8).reshape(height, width, 4)
        np.testing.assert_array_equal(pixels[..., :3], decoder.decode_array(from_data_url(preview["cmb"])))
        with Image.open(PLACE / name / "public" / preview["file"]) as photograph:
            assert (width, height) == (64, round(64 * photograph.height / photograph.width))
            average = np.asarray(photograph.convert("RGB")).mean((0, 1))
        assert np.abs(pixels[..., :3].mean((0, 1)) - average).max() < 4


def prior_text():
    return (PLACE / "package" / "nano.js").read_text().partition('NANO = "')[2].partition('"')[0]


def test_vite_builds_a_gallery():
    dist = built("vite")
    seen = told(dist)
    assert_photographs_are_shown(seen["shown"], "vite")
    assert seen["complaints"] == []
    scripts = {path: path.read_text() for path in dist.rglob("*.js")}
    (with_prior,) = [path for path, text in scripts.items() if prior_text() in text]
    assert scripts[with_prior].count(prior_text()) == 1
    assert with_prior.name not in (dist / "index.html").read_text()  # it is loaded when a preview is near the viewport


BUNDLED = """
import { build } from "vite";
const options = { write: false, copyPublicDir: false, rolldownOptions: { input: "used.js" } };
const { output } = await build({ logLevel: "silent", build: options });
console.log(JSON.stringify(output.map(({ code, modules }) => ({ code, modules: Object.keys(modules) }))));
"""
DECODER = ["core.js", "inflate.js", "nano.js", "preview.js"]
ELEMENT = ["define.js", "element.js", "header.js", "size.js"]


def bundled(script):
    """What Vite makes of a module: modules of the package in each file, the one with the prior last."""
    folder = PLACE / "vite"
    (folder / "used.js").write_text(script)
    command = ["node", "--input-type=module", "--eval", BUNDLED]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    files = []
    for file in json.loads(done.stdout):
        modules = [Path(module) for module in file["modules"]]
        names = sorted(module.name for module in modules if "combiner-preview" in module.parts)
        assert file["code"].count(prior_text()) == ("nano.js" in names)
        files.append(names)
    return sorted(files, key=lambda names: "nano.js" in names)


@pytest.mark.parametrize(
    ("script", "modules"),
    [
        ('import "combiner-preview";', []),
        ('import { averageColor } from "combiner-preview"; tell(averageColor(name));', ["size.js"]),
        ('import { size } from "combiner-preview"; tell(size(name));', ["header.js", "size.js"]),
        ('import { decode } from "combiner-preview"; tell(decode(name));', ["header.js", *DECODER]),
        (
            'import { toDataURL } from "combiner-preview"; tell(toDataURL(name));',
            ["header.js", "index.js", "png.js", *DECODER],
        ),
        (
            'import { decode } from "combiner-preview"; import "combiner-preview/element"; tell(decode(name));',
            [*DECODER, *ELEMENT],
        ),
    ],
)
def test_bundles_hold_what_is_used(script, modules):
    """And nothing twice; without a use nothing."""
    assert bundled(script) == [sorted(modules)]


def test_what_decodes_for_elements_is_in_a_file_of_its_own():
    assert bundled('import "combiner-preview/element";') == [ELEMENT, DECODER]


@pytest.mark.parametrize("mode", ["production", "development"])  # the second tells of every attribute that differs
def test_react_hydrates_what_its_server_rendered(mode):
    dist = built("react-ssr", NODE_ENV=mode)
    page = (dist / "index.html").read_text()
    assert page.count("<img-cmb src=") == len(PHOTOGRAPHS)
    seen = told(dist, hydrates=True)
    assert_photographs_are_shown(seen["shown"], "react-ssr")
    assert seen["complaints"] == []
    if mode == "development":
        (dist / "index.html").write_text(page.replace("<img-cmb ", '<img-cmb class="other" '))
        (complaint,) = told(dist, hydrates=True)["complaints"]
        assert "didn't match" in complaint  # so what is empty above would not hide one


TYPED = """
import "combiner-preview/react";
import type { ImgCmb } from "combiner-preview/element";
import { useRef } from "react";
export function Shown({ cmb }: { cmb: string | null }) {
	const element = useRef<ImgCmb>(null);
	const fine = ({ type }: Event) => type;
	const failed = ({ message }: ErrorEvent) => message;
	const rest = { width: 64, hidden: true, className: "preview", onload: fine, onerror: failed };
	return <img-cmb ref={element} src={cmb} alt="" max-pixels={4096} {...rest} />;
}
// @ts-expect-error
export const number = <img-cmb src={7} />;
"""


@pytest.mark.parametrize("modules", [["--module", "nodenext"], ["--module", "esnext", "--moduleResolution", "bundler"]])
def test_jsx_knows_the_element(modules):
    folder = PLACE / "react-ssr"
    (folder / "typed.tsx").write_text(TYPED)
    options = ["--noEmit", "--strict", "--jsx", "react-jsx", "--target", "es2022", "--lib", "es2022,dom"]
    command = ["npx", "--offline", "tsc", *options, *modules, "typed.tsx"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
