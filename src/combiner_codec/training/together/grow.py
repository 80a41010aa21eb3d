"""An architecture that grew from another: which layers are the old ones, so that it can begin as the same function.

A layer may have more channels, or be new. A new layer begins with weights of 0, so that it puts out the layer that it
is a residual of; old channels read nothing of new ones yet.
"""

from ...errors import FormatError
from ...synthesis.architecture import Architecture

SAME = ("kind", "window", "omega", "scale", "by_class", "fold", "bias", "latent")  # of an old layer and its grown one


def grown(old: Architecture, new: Architecture) -> list[int | None]:
    """For each shared layer of `new` after the colour map the number of the one of `old`, or None where it is new.

    Numbers count from the one after the colour map. Raises FormatError where `new` cannot begin as the same function.
    """
    first = old.colour + 1
    before = old.features, old.tile, old.side, old.layers[:first]
    found = None
    if before == (new.features, new.tile, new.side, new.layers[:first]):
        found = _Growth(old, new).rest(first, {number: number for number in range(first)})
    if found is None:
        raise FormatError("a prior of another architecture, which this one did not grow from")
    return [None if number is None else number - first for number in found]


class _Growth:
    """Numbers of layers of `old` for those of `new`."""

    def __init__(self, old: Architecture, new: Architecture):
        self.old = old
        self.new = new

    def rest(
        self,
        number: int,
        shown: dict[int, int],
    ) -> list[int | None] | None:
        """Those for the layers of `new` from one on, if there are any.

        shown: for each layer before, the layer of `old` whose output its first channels are.
        """
        following = shown[number - 1] + 1
        if number == len(self.new.layers):
            return [] if following == len(self.old.layers) else None
        if following < len(self.old.layers) and self._is(following, number, shown):
            found = self.rest(number + 1, shown | {number: following})
            if found is not None:
                return [following, *found]
        residual = self.new.layers[number].residual_of
        if residual is None:
            return None
        found = self.rest(number + 1, shown | {number: shown[residual]})
        return None if found is None else [None, *found]

    def _is(
        self,
        i: int,
        number: int,
        shown: dict[int, int],
    ) -> bool:
        """Whether a layer of `new` can be layer i of `old`, with more channels perhaps."""
        layer = self.new.layers[number]
        old = self.old.layers[i]
        alike = all(getattr(layer, name) == getattr(old, name) for name in SAME)
        if not alike or old.residual_of != shown.get(layer.residual_of):
            return False
        more_read = layer.inputs - old.inputs
        more_shown = layer.outputs - old.outputs
        if min(more_read, more_shown) < 0:
            return False
        # channels of layers that fold differently are in another order, so the old ones are not the first
        read_in_order = not more_read or self.new.layers[number - 1].fold == layer.fold
        added_in_order = not more_shown or layer.residual_of is None
        if more_shown and layer.residual_of is not None:
            added_in_order = self.new.layers[layer.residual_of].fold == layer.fold
        return read_in_order and added_in_order
