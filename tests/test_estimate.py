"""What is said of the time that pictures take."""

import numpy as np
import pytest

from combiner_codec.command import estimate
from combiner_codec.command.estimate import PACE, Estimate, in_words

LARGE = np.arange(3000 * 4000 * 3, dtype=np.uint8).reshape(3000, 4000, 3)  # 12 megapixels
PLAIN = np.full((4000, 4000, 3), 7, np.uint8)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr(estimate.time, "monotonic", lambda: Clock.now)
    return Clock


def begun(pictures, effort="normal"):
    """An estimate, the lines that it says, and the shares that it hands on."""
    said, shares = [], []
    estimate = Estimate("x.png", pictures, effort, said.append, shares.append)
    assert said == []  # nothing may have to be fitted
    estimate(0.0)
    return estimate, said, shares


def test_a_long_work_is_told_by_its_pixels(clock):
    _, said, _ = begun([LARGE])
    assert said == [f"x.png: 12.0 MP, about {12 * PACE['normal'] / 60:.0f} min on two processor cores"]
    assert begun([LARGE], "best")[1] == [
        f"x.png: 12.0 MP, about {12 * PACE['best'] / 60:.0f} min on two processor cores"
    ]


@pytest.mark.parametrize("pictures", [[PLAIN], [LARGE[:500, :1000]], [PLAIN, LARGE[:500, :1000]]])
def test_nothing_is_said_of_what_is_short_or_of_one_colour(pictures, clock):
    assert begun(pictures)[1] == []


def test_the_work_corrects_an_estimate_that_is_far_off_once(clock):
    estimate, said, shares = begun([LARGE])
    clock.now += 5
    estimate(0.001)  # too early to tell
    clock.now += 15
    estimate(0.01)  # 20 s for a hundredth
    clock.now += 20
    estimate(0.02)
    assert said[1:] == ["x.png: about 33 min more"] and shares == [0.0, 0.001, 0.01, 0.02]


def test_a_machine_that_is_faster_says_so_too(clock):
    estimate, said, _ = begun([LARGE])
    clock.now += 12
    estimate(0.25)
    assert said[1:] == ["x.png: less than a minute more"]


def test_a_short_work_that_turns_out_long_is_told_of(clock):
    estimate, said, _ = begun([LARGE[:500, :1000]])
    clock.now += 30
    estimate(0.1)
    assert said == ["x.png: about 4 min more"]


def test_an_estimate_that_holds_is_left_alone(clock):
    estimate, said, _ = begun([LARGE])
    clock.now += 12 * PACE["normal"] / 10
    estimate(0.11)
    assert len(said) == 1


@pytest.mark.parametrize(("seconds", "text"), [(59, "less than a minute"), (61, "about 1 min"), (5000, "about 83 min"),
                                               (6000, "about 1.7 h")])  # fmt: skip
def test_times_are_rough(seconds, text):
    assert in_words(seconds) == text
