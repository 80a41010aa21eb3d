"""A part of a picture: some rows and some columns, of pixels, tiles or blocks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rectangle:
    """Rows and columns, each without gaps."""

    rows: range
    columns: range

    @staticmethod
    def of(height: int, width: int) -> "Rectangle":
        """All of a picture."""
        return Rectangle(range(height), range(width))

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its place in an array."""
        rows = slice(self.rows.start, self.rows.stop)
        columns = slice(self.columns.start, self.columns.stop)
        return rows, columns

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.columns)

    @property
    def size(self) -> int:
        return len(self.rows) * len(self.columns)

    def within(self, other: "Rectangle") -> "Rectangle":
        """The same, counted from another's first row and column."""
        return Rectangle(moved(self.rows, -other.rows.start), moved(self.columns, -other.columns.start))

    def grown(self, by: int, unit: int, limits: tuple[int, int]) -> "Rectangle":
        """With so much more on every side, in whole units, of a picture of (height, width)."""
        height, width = limits
        return Rectangle(grown(self.rows, by, unit, height), grown(self.columns, by, unit, width))

    def cropped(self, to: "Rectangle") -> "Rectangle":
        """What of it another has."""
        return Rectangle(shared(self.rows, to.rows), shared(self.columns, to.columns))

    def times(self, count: int) -> "Rectangle":
        """In a unit that is so many times smaller."""
        return Rectangle(times(self.rows, count), times(self.columns, count))

    def over(self, count: int) -> "Rectangle":
        """In a unit that is so many times larger; what is begun counts."""
        return Rectangle(over(self.rows, count), over(self.columns, count))

    def cut(self, rows: int, columns: int) -> "list[Rectangle]":
        """Parts of so many rows and columns, those at the end smaller, row by row."""
        return [Rectangle(down, across) for down in cut(self.rows, rows) for across in cut(self.columns, columns)]


def moved(line: range, by: int) -> range:
    return range(line.start + by, line.stop + by)


def grown(line: range, by: int, unit: int, limit: int) -> range:
    """With so much more at both ends, in whole units, from 0 to the limit."""
    start = (line.start - by) // unit * unit
    stop = -(-(line.stop + by) // unit) * unit
    return range(max(0, start), min(limit, stop))


def shared(line: range, other: range) -> range:
    return range(max(line.start, other.start), min(line.stop, other.stop))


def times(line: range, count: int) -> range:
    return range(line.start * count, line.stop * count)


def over(line: range, count: int) -> range:
    return range(line.start // count, -(-line.stop // count))


def cut(line: range, length: int) -> list[range]:
    return [line[start : start + length] for start in range(0, len(line), length)]
