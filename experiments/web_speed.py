"""`make bench-web-speed`: milliseconds of the decoder in JavaScript in headless Chromium, on one picture's file."""

import base64
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import click
import numpy as np

from combiner_codec.errors import MissingError
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior
from combiner_codec.reports import Report
from scripts import web_prior
from scripts.web_package import WEB, bundled

PAGE = """<!doctype html><body><script type="module">
import {{ Combiner }} from "data:text/javascript;base64,{module}";
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const [prior, file] = [bytes("{prior}"), bytes("{file}")];
function timed(work) {{
  const start = performance.now();
  work();
  return performance.now() - start;
}}
const parse = Array.from({{ length: 5 }}, () => timed(() => new Combiner(prior)));
const combiner = new Combiner(prior);
const decode = Array.from({{ length: 150 }}, () => timed(() => combiner.decode(file)));
document.body.textContent = JSON.stringify({{ parse, decode }});
</script></body>"""


def measured(file: bytes, prior: Prior) -> dict[str, list[float]]:
    """Milliseconds of parsing a prior, and of decoding a file that was made with it. Raises MissingError."""
    chromium = shutil.which("chromium")
    if not chromium:
        raise MissingError("no Chromium here: apt-get install chromium", "chromium")
    module, prior = bundled(WEB / "combiner.js").encode(), web_prior.web(prior)
    parts = {"module": module, "prior": prior, "file": file}
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "speed.html"
        page.write_text(PAGE.format(**{name: base64.b64encode(part).decode() for name, part in parts.items()}))
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
        told = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True)
    return json.loads(told.stdout.split("<body>")[1].split("</body>")[0])


def run(source: Path, name: str, say: Report) -> None:
    """First, least, median, quartiles and nine tenths of each."""
    from combiner_codec import preview

    prior = priors.load(name)
    file = preview(source, prior=prior)
    say(f"{len(file)} bytes")
    for name, times in measured(file, prior).items():
        lower, median, upper, most = np.quantile(times, [0.25, 0.5, 0.75, 0.9])
        spread = f"quartiles {lower:.1f} and {upper:.1f} ms, nine tenths below {most:.1f} ms"
        say(f"{name}: first {times[0]:.1f} ms, median {median:.1f} ms, least {min(times):.1f} ms, {spread}")


@click.command("web-speed")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--prior", default="nano", show_default=True, help="A released prior.")
def command(source, prior):
    """How long a preview takes in a browser."""
    run(source, prior, click.echo)
