"""Coverage-guided fuzzing: python -m experiments.reliability.fuzz files|priors CORPUS [libFuzzer options].

Needs `atheris`, numpy and Pillow alone. What fuzzing would hardly get past is put right here: the checksum of a file,
the archive around the members of a prior. Anything but a FormatError or a picture is a find.
"""

import io
import json
import sys
import zipfile
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["combiner_codec"]):
    from combiner_codec import FormatError, decoder
    from combiner_codec.format import prior as priors

from .golden import CUSTOM, FOLDER, prior_of
from .hostile import repaired
from .prior_mutants import originals, some_file

PIXELS = 1 << 16  # larger pictures take long and go the same way
PRIOR = prior_of(CUSTOM)
NAMES = sorted({"metadata", "99.zz", *(name for content in originals() for name in content.arrays)})


def decode(body: bytes) -> None:
    """One file, its checksum put right."""
    try:
        pixels = decoder.decode_array(repaired(body, PRIOR), PRIOR, threads=1, max_pixels=PIXELS)
    except FormatError:
        return
    assert pixels.size <= 3 * PIXELS


def load(body: bytes) -> None:
    """One prior, as `members_in` has it, and a picture with it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members_in(body).items():
            archive.writestr(f"{name}.npy", data)
    try:
        prior = priors.parse(file.getvalue(), "fuzzed")
        data = some_file(prior)
        with np.errstate(all="ignore"):  # of weights of any size
            decoder.decode_array(data, prior, threads=1)
    except FormatError:
        return


def members_in(body: bytes) -> dict[str, bytes]:
    """Members of an archive: the number of each name in `NAMES`, its length in two bytes, and its bytes."""
    members = {}
    at = 0
    while at + 3 <= len(body):
        name = NAMES[body[at] % len(NAMES)]
        end = at + 3 + int.from_bytes(body[at + 1 : at + 3], "little")
        members[name] = body[at + 3 : end]
        at = end
    return members


def members_of(content) -> bytes:
    """The inverse of `members_in`."""
    metadata = np.frombuffer(json.dumps(content.metadata).encode(), np.uint8)
    parts = []
    for name, array in {**content.arrays, "metadata": metadata}.items():
        member = io.BytesIO()
        np.lib.format.write_array(member, array, allow_pickle=False)
        data = member.getvalue()
        parts.append(bytes([NAMES.index(name)]) + len(data).to_bytes(2, "little") + data)
    return b"".join(parts)


def seeds(target: str) -> dict[str, bytes]:
    """What fuzzing begins with."""
    if target == "files":
        return {path.stem: path.read_bytes() for path in FOLDER.glob("*.cmb")}
    return {f"original-{i}": members_of(content) for i, content in enumerate(originals())}


def main(target: str, corpus: Path, *options: str) -> None:
    """Fuzz for as long as libFuzzer's options say."""
    corpus.mkdir(parents=True, exist_ok=True)
    for name, data in seeds(target).items():
        (corpus / name).write_bytes(data)
    atheris.Setup([sys.argv[0], str(corpus), *options], {"files": decode, "priors": load}[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
