"""`make web-package`: the npm package of web/ in build/npm, with its prior, and its script in one file for plain pages.

An import of a module is one line, a module's names are no other's, and comments stand on lines of their own or at the
end of one: so modules become one file without a bundler.
"""

import argparse
import base64
import gzip
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path

from rjsmin import jsmin

from combiner_codec import __version__
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior
from scripts import web_prior

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
PRIOR = "nano"  # the one inside
NANO, PAGE = "nano.js", "combiner-preview.js"
IMPORT = re.compile(r'^import \{[^}\n]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:const|let|function|class) )", re.MULTILINE)
NAMES = re.compile(r"^export \{[^}\n]*\};\n", re.MULTILINE)


def packed(prior: Prior) -> str:
    """A module with the prior: deflate in base64, which a server's gzip makes as small as gzip of the prior alone."""
    data = web_prior.web(prior)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = base64.b64encode(deflate.compress(data) + deflate.flush()).decode()
    return f'export const UNPACKED = {len(data)};\nexport const NANO = "{text}";\n'


def bundled(entry: Path) -> str:
    """A module with all that it imports as one; the prior's module alone is imported, so that it loads beside."""
    texts: dict[str, str] = {}
    prior = ""

    def visit(name: str) -> None:
        nonlocal prior
        text = (entry.parent / name).read_text()
        for found in IMPORT.finditer(text):
            needed = found[1]
            if needed == NANO:
                prior = found[0]
            elif needed not in texts:
                visit(needed)
        text = IMPORT.sub("", text)
        if name != entry.name:
            text = EXPORT.sub("", NAMES.sub("", text))
        texts[name] = text

    visit(entry.name)
    return prior + "\n".join(texts.values())


def build(folder: Path) -> None:
    """Write the package."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifest = json.loads((WEB / "package.json").read_text())
    made = {NANO: packed(priors.load(PRIOR)), PAGE: jsmin(bundled(WEB / "page.js"))}
    made["package.json"] = json.dumps(manifest | {"version": __version__}, indent=2) + "\n"
    for name in manifest["files"]:
        if name not in made:
            shutil.copy(WEB / name, folder / name)
    for name, text in made.items():
        (folder / name).write_text(text)
    shutil.copy(WEB / "README.md", folder)
    shutil.copy(ROOT / "LICENSE", folder)


def pack(package: Path, folder: Path) -> Path:
    """The package as npm packs it, in a folder."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=True)
    return folder / done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/npm"))
    folder = parser.parse_args().folder
    build(folder)
    for name in (PAGE, NANO):
        size = len(gzip.compress((folder / name).read_bytes(), 9))
        print(f"{folder / name}: {size:,} bytes gzipped")


if __name__ == "__main__":
    main()
