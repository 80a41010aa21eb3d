"""What the synthesis computes with: numpy arrays in a decoder, torch tensors in an encoder and in training."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from .rectangle import Rectangle

Array = Any  # np.ndarray or torch.Tensor: they share their operators, but no type that a checker knows


class Ops(Protocol):
    """What the forward pass needs of an array library: NumpyOps, TorchOps. `like` has the dtype and device to take."""

    def activation(self, kind: str, x: Array) -> Array:
        """x may be overwritten."""

    def constant(self, array: np.ndarray, like: Array) -> Array: ...

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array: ...

    def empty(self, shape: tuple[int, ...], like: Array) -> Array: ...

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """Products of matrices, into an array or a view of one."""

    def concatenate(self, parts: Sequence[Array], axis: int) -> Array: ...

    def permute(self, x: Array, axes: tuple[int, ...]) -> Array: ...

    def cast(self, x: Array) -> Array:
        """To the precision of the shared layers."""

    def look_up(self, table: Array, classes: Array) -> Array:
        """Rows of a table: (K, O), (P, Rt, Ct) -> (P, Rt, Ct, O)."""

    def between(self, values: Array, tile: int, part: Rectangle) -> Array:
        """Some positions between centres of tiles, bilinearly: (P, Rt, Ct, O) -> (P, h, w, O)."""

    def window(self, x: Array, weights: Array, epilogue: Callable[[Array, slice], Array]) -> Array:
        """Dense layer over neighbourhoods: (P, H, W, C) (size, size, C, O) -> (P, H, W, O)."""
