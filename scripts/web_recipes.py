"""`make web-recipes`: web/recipes in build/web-recipes, with the packed npm package and all that they need."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from scripts import web_package

RECIPES = web_package.WEB / "recipes"
PLACE = web_package.ROOT / "build" / "web-recipes"
NAMES = ("vite", "react-ssr")
TYPES = ("typescript", "@types/react")  # what looks at the package's types, in the second
PHOTOGRAPHS = ("hippos.png", "lighthouse.png")


def make_previews(project: Path) -> None:
    """What a web team has before it begins: photographs, and a line of JSON for each."""
    public = project / "public"
    shutil.rmtree(public, ignore_errors=True)
    (public / "photos").mkdir(parents=True)
    for name in PHOTOGRAPHS:
        shutil.copy(web_package.ROOT / "assets" / "samples" / name, public / "photos")
    command = [sys.executable, "-m", "combiner_codec", "preview", "photos", "--json", "--quiet"]
    with (project / "previews.jsonl").open("wb") as lines:
        subprocess.run(command, cwd=public, stdout=lines, check=True)


def install(offline: bool = False) -> None:
    """Write all recipes and install what they need; offline: only the package anew, beside what is there."""
    package = PLACE / "package"
    web_package.build(package)
    tarball = web_package.pack(package, PLACE)
    options = ["--no-audit", "--no-fund", "--silent"]
    if offline:
        options.append("--offline")
    for name in NAMES:
        project = PLACE / name
        shutil.copytree(RECIPES / name, project, dirs_exist_ok=True)
        make_previews(project)
        more = TYPES if name == "react-ssr" else ()
        subprocess.run(["npm", "install", *options, tarball, *more], cwd=project, check=True)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    install()


if __name__ == "__main__":
    main()
