"""What a file should be: of a size, or of a quality. Without torch."""

from dataclasses import dataclass
from math import inf, isinf

from ..format.plane import InrPlane
from ..format.prior import Prior
from .encoded import Encoded
from .settings import one_of, positive

MOSTLY = 0.8  # of a wanted size: a smaller file is worth a line
MET = 0.2  # dB from a wanted PSNR that are good enough


@dataclass(frozen=True)
class Goal:
    """What a file should be: at most `size` bytes, or of `psnr` dB. Raises ValueError or TypeError for no such goal."""

    size: int | None = None
    psnr: float | None = None

    def __post_init__(self):
        if self.size is not None:
            one_of("target_size", self.size, number=(1, inf), whole=True)
        if self.psnr is not None:
            positive("target_psnr", self.psnr, most=inf)

    @staticmethod
    def of(size: int | None, psnr: float | None) -> "Goal | None":
        """A goal, or None without a wish. Raises ValueError for two."""
        if size is not None and psnr is not None:
            raise ValueError("a target size and a target PSNR exclude each other")
        if size is None and psnr is None:
            return None
        return Goal(size, psnr)

    def unused(self, result: Encoded, prior: Prior) -> str | None:
        """What is said where a file is much smaller than it may be; None where it is not."""
        point = result.plane.header.point
        if self.size is None or len(result.data) > MOSTLY * self.size or not isinstance(result.plane, InrPlane):
            return None
        if prior.betas[point] > min(prior.betas):
            return None
        return f"more than {len(result.data)} bytes would not make it better with the prior {prior.name}"

    def missed(self, result: Encoded) -> bool:
        """Whether a file is further from the wanted PSNR than it should be; one of an exact plane may be better."""
        if self.psnr is None or isinf(result.psnr):
            return False
        worse = self.psnr - result.psnr
        return worse > MET or (worse < -MET and isinstance(result.plane, InrPlane))
