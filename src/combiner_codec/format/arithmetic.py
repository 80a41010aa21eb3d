"""Arithmetic coding with 32-bit registers: numbers of known frequencies <-> bits (FORMAT.md, "Class maps").

`ends` are 0 and the running sum of the frequencies: number c has the part from ends[c] to ends[c + 1] of ends[-1].
"""

from bisect import bisect

import numpy as np

WORD = 32  # bits of the registers
ONES = (1 << WORD) - 1
HALF = 1 << (WORD - 1)
QUARTER = 1 << (WORD - 2)
BELOW_HALF = HALF - 1  # mask of all bits but the first
TAIL = 2  # bits that place the end of the code inside the last interval


class ArithmeticEncoder:
    """Numbers to bits, which are kept as text."""

    def __init__(self) -> None:
        self.low = 0
        self.high = ONES
        self.straddled = 0  # bits that straddled the middle since the last settled one
        self.digits: list[str] = []

    def put(self, ends: list[int], number: int) -> None:
        """Write the next number."""
        self.low, self.high = narrow(self.low, self.high, ends, number)
        settled, straddling = shifts(self.low, self.high)
        if settled:
            self._spell(self.low >> (WORD - settled), settled)
            self.straddled = 0
        self.low = drop(self.low, 0, settled, straddling)
        self.high = drop(self.high, ONES, settled, straddling)
        self.straddled += straddling

    def finish(self) -> np.ndarray:
        """All bits, the end included: (n,) uint8 of 0 and 1."""
        self._spell(1 if self.low < QUARTER else 2, TAIL)
        text = "".join(self.digits).encode()
        return np.frombuffer(text, np.uint8) - ord("0")

    def _spell(self, value: int, width: int) -> None:
        """Binary digits of a value; the bits that straddled the middle follow the first digit as its opposite."""
        digits = f"{value:0{width}b}"
        opposite = "1" if digits[0] == "0" else "0"
        self.digits.append(digits[0] + opposite * self.straddled + digits[1:])


class ArithmeticDecoder:
    """The inverse. Zeros follow the last bit: who reads has to compare `used` with how many there are."""

    def __init__(self, bits: np.ndarray):
        text = (np.asarray(bits, np.uint8) + ord("0")).tobytes().decode()
        self.digits = text + "0" * (3 * WORD)
        self.low = 0
        self.high = ONES
        self.code = int(self.digits[:WORD], 2)
        self.used = 0  # bits that are settled, of which the encoder wrote TAIL more

    def take(self, ends: list[int]) -> int:
        """Read the next number."""
        span = self.high - self.low + 1
        value = ((self.code - self.low + 1) * ends[-1] - 1) // span
        number = bisect(ends, value) - 1
        low, high = narrow(self.low, self.high, ends, number)
        settled, straddling = shifts(low, high)
        self.low = drop(low, 0, settled, straddling)
        self.high = drop(high, ONES, settled, straddling)
        if settled or straddling:
            start = self.used + WORD
            self.used += settled + straddling
            fresh = int(self.digits[start : self.used + WORD], 2)
            self.code = drop(self.code, fresh, settled, straddling)
        return number


def narrow(low: int, high: int, ends: list[int], number: int) -> tuple[int, int]:
    """Part of a number in the interval, both ends inclusive."""
    span = high - low + 1
    total = ends[-1]
    first = low + span * ends[number] // total
    last = low + span * ends[number + 1] // total - 1
    return first, last


def shifts(low: int, high: int) -> tuple[int, int]:
    """How many leading bits of an interval are settled, and how many behind them straddle the middle."""
    settled = WORD - (low ^ high).bit_length()
    straddles = (low & ~high) << settled  # bits where low has 1 and high has 0
    straddling = WORD - 1 - (~straddles & BELOW_HALF).bit_length()
    return settled, straddling


def drop(word: int, fresh: int, settled: int, straddling: int) -> int:
    """Word without its settled and its straddling bits, which follow the first one left; fresh bits come in below."""
    count = settled + straddling
    room = (1 << count) - 1
    word = (word << count) | (fresh & room)
    first = (word >> straddling) & HALF
    return (word & BELOW_HALF) | first
