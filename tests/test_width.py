"""Memory depends on pixels, in whole tiles, and not on the shape of a picture."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from combiner_codec import FormatError, decode, encode
from combiner_codec.format import header, plane
from combiner_codec.format import prior as priors
from combiner_codec.format.header import RGB, USUAL_BITS, Header
from combiner_codec.format.plane import InrPlane

MORE = 1.5  # times a square's memory
ONLY_HERE = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process")
PEAK = """
import sys
from pathlib import Path
from combiner_codec import decoder
from combiner_codec.format import prior
from combiner_codec.synthesis import bands

def peak():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])

def few(pixels):
    return lambda *picture: bands.bands(*picture, pixels)

photo = prior.load("photo")
"""
DECODE = """
decoder.bands = few(2**17)  # as a picture of 64 megapixels has them
data = Path(sys.argv[1]).read_bytes()
before = peak()
decoder.decode_array(data, threads=2)
print(peak() - before)
"""
ENCODE = """
import numpy as np
from combiner_codec.encoder import batch
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Effort, Settings
batch.bands = decoder.bands = few(2**16)  # as a picture of 32 megapixels has them
height, width = int(sys.argv[1]), int(sys.argv[2])
rows, columns = np.arange(height)[:, None], np.arange(width)
waves = [np.sin(rows / (20 - k)) * np.cos(columns / (30 + k)) for k in range(3)]
picture = np.uint8(127 + 60 * np.stack(waves, -1))
effort = Effort(steps=0.02, segments=1, refine=0.0, wider=-8, trials=1)
before = peak()
encode_arrays([picture], photo, Settings(effort=effort, device="cpu", threads=2, point=9, verify=False))
print(peak() - before)
"""


def some_file(height, width):
    """A file of random classes and streams."""
    rng = np.random.default_rng(0)
    photo = priors.load("photo")
    head = Header(photo.number, 1, USUAL_BITS[0], width, height, channels=RGB)
    empty = InrPlane(head, photo, np.zeros((0, 0), np.int64))
    whole = InrPlane(head, photo, rng.integers(0, empty.point.single, empty.tiles))
    streams = tuple(rng.integers(0, 2, section.length, np.uint8) for section in whole.sections)
    filled = InrPlane(head, photo, whole.classes, streams=streams)
    return header.write(head, photo.architecture.block, plane.write(filled), photo.digest)


def peak(code, *arguments) -> int:
    """Kilobytes that some code takes, above what its process has before."""
    done = subprocess.run([sys.executable, "-c", PEAK + code, *map(str, arguments)], capture_output=True, check=True)
    return int(done.stdout)


@ONLY_HERE
def test_decoding_takes_no_more_memory_for_a_line_than_for_a_square(tmp_path):
    """All have a megapixel in whole tiles."""
    kilobytes = {}
    for height, width in ((1024, 1024), (256, 4096), (4096, 256), (1, 2**16), (2**16, 1)):
        path = tmp_path / f"{height}x{width}.cmb"
        path.write_bytes(some_file(height, width))
        kilobytes[height, width] = peak(DECODE, path)
    most = MORE * kilobytes[1024, 1024]
    assert all(found <= most for found in kilobytes.values()), kilobytes


@ONLY_HERE
def test_encoding_takes_no_more_memory_for_a_line_than_for_a_square():
    """The torture tests have larger ones, encoded as users do."""
    assert peak(ENCODE, 64, 4096) <= MORE * peak(ENCODE, 512, 512)


@pytest.mark.parametrize("shape", [(13377, 13377), (1, 2**20)])
def test_what_decoders_refuse_is_not_encoded(shape):
    """By default they take so many pixels in whole tiles."""
    height, width = shape
    limit = header.MAX_PIXELS if height > 1 else 2**20
    assert height * width <= limit
    picture = np.broadcast_to(np.arange(width).astype(np.uint8), shape)
    photo = priors.load("photo")
    head = Header(photo.number, 1, USUAL_BITS[0], width, height, channels=RGB)
    with pytest.raises(FormatError, match="of whole tiles are more than"):
        encode(picture, kind="inr", max_pixels=limit)
    with pytest.raises(FormatError, match="of whole tiles are more than"):
        decode(header.write(head, photo.architecture.block, b"", photo.digest), max_pixels=limit)


def test_without_tiles_pixels_are_as_many_as_are_seen():
    line = np.arange(100, dtype=np.uint8)[None]
    flat = np.full((1, 100), 7, np.uint8)
    assert np.asarray(decode(encode(line, kind="lossless", max_pixels=100), max_pixels=100)).tolist() == line.tolist()
    assert np.asarray(decode(encode(flat, kind="inr", max_pixels=100), max_pixels=100)).tolist() == flat.tolist()
    with pytest.raises(FormatError, match="100 x 1 pixels are more than 99"):
        encode(line, kind="lossless", max_pixels=99)
