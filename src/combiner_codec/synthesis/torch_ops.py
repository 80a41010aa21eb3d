"""The synthesis on torch tensors: what the encoder and training differentiate."""

import torch
from torch.nn import functional


class TorchOps:
    """See NumpyOps."""

    sin = staticmethod(torch.sin)
    concatenate = staticmethod(torch.cat)

    @staticmethod
    def constant(array, like):
        return torch.from_numpy(array).to(like)

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
    def window(x, size, weights):
        r = size // 2
        padded = functional.pad(x.permute(0, 3, 1, 2), (r, r, r, r), mode="replicate")
        return functional.conv2d(padded, weights.permute(3, 2, 0, 1)).permute(0, 2, 3, 1)
