"""Noise of a fit: samples of the posterior come in mirrored pairs. Needs torch."""

import torch

MOST_KEPT = 2**22  # normals of a turn that the next one finds; more are drawn again


class Noise:
    """Standard normals, every second turn those of the turn before with the other sign (antithetic variates).

    What a sample's noise adds to a gradient is linear in it where the network is, and so cancels over two steps.
    """

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)
        self.before = None  # the generator's state before the turn that the next one mirrors
        self.drawn: list[torch.Tensor] | None = None  # in that turn, if they are kept
        self.sign = 1

    def begin(self) -> None:
        """The next turn mirrors none."""
        self.before = None

    def turn(self) -> None:
        """The next sample begins."""
        if self.before is None:
            self.before = self.generator.get_state()
            self.drawn = []
            self.sign = 1
        else:
            if self.drawn is None:
                self.generator.set_state(self.before)
            self.before = None
            self.sign = -1

    def normal(self, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """Some of this turn's normals: of the same shapes in both turns of a pair."""
        if self.sign < 0 and self.drawn is not None:
            return -self.drawn.pop(0)
        pinned = device.type == "cuda"  # so that nobody waits for the copy
        drawn = torch.randn(shape, generator=self.generator, pin_memory=pinned).to(device, non_blocking=pinned)
        if self.sign < 0:
            return -drawn
        if self.drawn is not None:
            self.drawn.append(drawn)
            if sum(map(torch.numel, self.drawn)) > MOST_KEPT:
                self.drawn = None
        return drawn

    def state(self) -> torch.Tensor:
        """Where it is, for `go_on`."""
        return self.generator.get_state()

    def go_on(self, state: torch.Tensor) -> None:
        """Go on from where it was."""
        self.generator.set_state(state)
