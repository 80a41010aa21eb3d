"""Coverage-guided fuzzing of the decoder: python -m experiments.reliability.fuzz CORPUS [libFuzzer options].

Needs `atheris`, numpy and Pillow alone. Inputs are files without their checksum, which is put right here: fuzzing would
hardly get past it. Anything but a FormatError or a picture is a find.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["combiner_codec"]):
    from combiner_codec import FormatError, decoder

from .golden import CUSTOM, FOLDER, prior_of
from .hostile import repaired

PIXELS = 1 << 16  # larger pictures take long and go the same way
PRIOR = prior_of(CUSTOM)


def decode(body: bytes) -> None:
    """One input."""
    try:
        pixels = decoder.decode_array(repaired(body + b"..", PRIOR), PRIOR, threads=1, max_pixels=PIXELS)
    except FormatError:
        return
    assert pixels.size <= 3 * PIXELS


def main(corpus: Path, *options: str) -> None:
    """Fuzz for as long as libFuzzer's options say, from the golden files on."""
    corpus.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.cmb"):
        (corpus / path.stem).write_bytes(path.read_bytes()[:-2])
    atheris.Setup([sys.argv[0], str(corpus), *options], decode)
    atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
