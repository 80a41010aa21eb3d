"""A picture's fitted posterior as arrays: what `encode --save-posterior` writes and `inspect --posterior` reads.

A file holds indices only. The posterior that they were chosen by is known to the encoder alone.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ...errors import FormatError


@dataclass(frozen=True)
class SavedPosterior:
    """Posterior and prior of every latent, before any of them was coded: (B, D) float32, B blocks of D latents."""

    mu: np.ndarray  # posterior means
    sigma: np.ndarray  # posterior scales
    mean: np.ndarray  # prior means
    scale: np.ndarray  # prior scales, 0 where a latent is not coded

    def kl_bits(self) -> np.ndarray:
        """KL(q || p) of every latent in bits, 0 where it is not coded: (B, D) float64."""
        coded = self.scale > 0
        scale = np.where(coded, self.scale, 1).astype(np.float64)
        ratio = np.where(coded, self.sigma, 1) / scale
        nats = 0.5 * (ratio**2 + ((self.mu - self.mean) / scale) ** 2 - 1) - np.log(ratio)
        return np.where(coded, nats, 0) / np.log(2)

    def to_bytes(self, data: bytes) -> bytes:
        """An .npz archive that names the .cmb file `data` by its SHA-256."""
        buffer = io.BytesIO()
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(buffer, cmb=np.frombuffer(hashlib.sha256(data).digest(), np.uint8), **arrays)
        return buffer.getvalue()

    @staticmethod
    def join(parts: "Sequence[SavedPosterior]") -> "SavedPosterior":
        """Of all blocks of some, in their order."""
        names = [field.name for field in fields(SavedPosterior)]
        return SavedPosterior(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def of(self, blocks: np.ndarray) -> "SavedPosterior":
        """That of some blocks, by number."""
        return SavedPosterior(self.mu[blocks], self.sigma[blocks], self.mean[blocks], self.scale[blocks])

    @staticmethod
    def parse(archive: bytes, data: bytes) -> "SavedPosterior":
        """The posterior of the .cmb file `data`. Raises FormatError for anything else."""
        try:
            arrays = np.load(io.BytesIO(archive), allow_pickle=False)
            owner = arrays["cmb"].tobytes()
            found = SavedPosterior(*(arrays[field.name] for field in fields(SavedPosterior)))
            if {(table.shape, table.dtype.kind) for table in vars(found).values()} != {(found.mu.shape, "f")}:
                raise ValueError("tables of several shapes or kinds")
        except Exception as error:  # numpy and zipfile raise many kinds on damaged files
            raise FormatError("not a posterior that an encoder kept") from error
        if owner != hashlib.sha256(data).digest():
            raise FormatError("the posterior of another .cmb file")
        return found
