"""No wanted size buys a worse picture: small pictures to ever larger sizes, with every prior that they may have."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors

SAMPLES = Path(__file__).parents[2] / "assets/samples"
SIDE = 64
SIZES = (60, 100, 200, 450, 1100, 2600, 6000)  # bytes; the last ones are more than such a picture can use
NOISE = 0.15  # dB that a file is luckier than another, at most


def squares():
    """Twelve parts of two photographs, scaled: six of each."""
    found = []
    for name in ("hippos", "lighthouse"):
        photograph = Image.open(SAMPLES / f"{name}.png").convert("RGB")
        width, height = photograph.size
        for side in (height, height // 2):
            for left in (0, (width - side) // 2, width - side):
                box = left, height - side, left + side, height
                found.append(np.asarray(photograph.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box)))
    return found


@pytest.mark.torture
@pytest.mark.filterwarnings("ignore:more than")  # bytes would not make it better
@pytest.mark.parametrize("name", ["photo", "small", "web", "nano"])
def test_psnr_never_falls_as_the_target_grows(name):
    settings = Settings(effort="fast", threads=1, kind="inr")
    levels = []
    for size in SIZES:
        files = encode_arrays(squares(), priors.load(name), settings, Goal(size=size))
        assert all(len(file.data) <= size for file in files)
        levels.append([file.psnr for file in files])
    assert np.diff(levels, axis=0).min() > -NOISE
