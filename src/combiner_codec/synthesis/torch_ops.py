"""The synthesis on torch tensors: what the encoder and training differentiate."""

from functools import cache

import torch
from torch.nn import functional


class TorchOps:
    """See NumpyOps."""

    KEEPS = True
    sin = staticmethod(torch.sin)
    concatenate = staticmethod(torch.cat)

    @staticmethod
    def activation(kind, x):
        return {"linear": lambda x: x, "sine": torch.sin, "silu": functional.silu}[kind](x)

    @staticmethod
    def constant(array, like):
        return torch.from_numpy(array).to(like)

    @staticmethod
    def zeros(shape, like):
        return like.new_zeros(shape)

    @staticmethod
    def flip(x, axis):
        return torch.flip(x, (axis,))

    @staticmethod
    def permute(x, axes):
        return x.permute(axes)

    @staticmethod
    def cast(x):
        return x

    @staticmethod
    def look_up(table, classes):
        """As indexing does, with a faster gradient."""
        return functional.embedding(torch.as_tensor(classes, device=table.device), table)

    @staticmethod
    def between(values, tile, low, high):
        """As NumpyOps has it, by one call: with its gradient 3 ms where the other way takes 13."""
        if values.shape[1:3] == (1, 1):
            return values
        if values.requires_grad and (low, high) == (0, values.shape[1] * tile):
            return _by_products(values, tile)
        first = max(0, low // tile - 1)
        planes = values[:, first : high // tile + 2].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        rows = functional.interpolate(planes, scale_factor=tile, mode="bilinear").permute(0, 2, 3, 1)
        return rows[:, low - first * tile : high - first * tile]

    @staticmethod
    def window(x, weights, finished):
        rows, r = (0, x.shape[1]), len(weights) // 2
        if not r:
            return finished(x @ weights[0, 0], rows)
        padded = _edges_repeated(x, r) if x.is_cuda else functional.pad(x.permute(0, 3, 1, 2), (r,) * 4, "replicate")
        return finished(functional.conv2d(padded, weights.permute(3, 2, 0, 1)).permute(0, 2, 3, 1), rows)


def _by_products(values, tile):
    """All rows of `between` as products of matrices, whose gradients are products too: a GPU adds up atomically
    otherwise.
    """
    p, rows, columns, o = values.shape
    down, across = (_weights(n, tile, values.dtype, values.device) for n in (rows, columns))
    tall = down @ values.reshape(p, rows, columns * o)
    return (across @ tall.reshape(-1, columns, o)).reshape(p, rows * tile, columns * tile, o)


@cache
def _weights(n, tile, dtype, device):
    """Of n tiles for the positions between their centres: (n tile, n)."""
    one = torch.eye(n, dtype=dtype)[None, None]
    return functional.interpolate(one, (n * tile, n), mode="bilinear")[0, 0].to(device)


def _edges_repeated(x, r):
    """(P, H, W, C) -> (P, C, H + 2 r, W + 2 r), channels last in memory, as a GPU's convolutions like them."""
    x = torch.cat([x[:, :1]] * r + [x] + [x[:, -1:]] * r, 1)
    return torch.cat([x[:, :, :1]] * r + [x] + [x[:, :, -1:]] * r, 2).permute(0, 3, 1, 2)
