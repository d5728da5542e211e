"""Between JAX's channels-last layouts, which golden files use, and torch's.

An input is `(batch, *spatial, channels)`, a convolution's kernel is
`(*window, channels / groups, features)`, a dense one `(inputs, features)`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
TRANSPOSED = (
    torch.nn.ConvTranspose1d,
    torch.nn.ConvTranspose2d,
    torch.nn.ConvTranspose3d,
)


def to_torch(x: np.ndarray) -> torch.Tensor:
    """Moves the channels of a channels-last array to axis 1."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def from_torch(x: torch.Tensor) -> np.ndarray:
    """Moves the channels of torch's array to the last axis."""
    return np.ascontiguousarray(np.moveaxis(x.detach().numpy(), 1, -1))


def assign(parameter: torch.Tensor, value: np.ndarray) -> None:
    """Sets a parameter, whose shape must be `value`'s."""
    assert tuple(parameter.shape) == value.shape, (parameter.shape, value.shape)
    parameter.data = torch.from_numpy(np.ascontiguousarray(value))


def dense(kernel: np.ndarray, bias: np.ndarray | None) -> torch.nn.Linear:
    """Returns the linear module of an (inputs, features) kernel."""
    module = torch.nn.Linear(*kernel.shape, bias=bias is not None, dtype=torch.float64)
    assign(module.weight, kernel.T)
    if bias is not None:
        assign(module.bias, bias)
    return module


def convolution(
    kernel: np.ndarray,
    bias: np.ndarray | None,
    *,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> torch.nn.Module:
    """Returns the convolution of a (*window, channels / groups, features) kernel."""
    *window, per_group, features = kernel.shape
    module = CONVOLUTIONS[len(window) - 1](
        per_group * groups,
        features,
        tuple(window),
        tuple(strides),
        tuple(padding),
        tuple(dilation),
        groups,
        bias is not None,
        dtype=torch.float64,
    )
    assign(module.weight, np.moveaxis(kernel, (-1, -2), (0, 1)))
    if bias is not None:
        assign(module.bias, bias)
    return module


def transposed_convolution(
    kernel: np.ndarray,
    bias: np.ndarray | None,
    *,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int],
    groups: int = 1,
) -> torch.nn.Module:
    """Returns the transposed convolution whose lhs-dilated form has this kernel.

    torch's weight is `(channels, features / groups, *window)`, to be scattered; ours is
    correlated with the dilated input, so the window is flipped, and the channels of
    each group are moved from the front to `(*window, channels / groups, features)`.
    """
    *window, per_group, features = kernel.shape
    module = TRANSPOSED[len(window) - 1](
        per_group * groups,
        features,
        tuple(window),
        tuple(strides),
        tuple(padding),
        tuple(output_padding),
        groups,
        bias is not None,
        tuple(dilation),
        dtype=torch.float64,
    )
    flipped = np.flip(kernel, tuple(range(len(window))))
    by_group = np.split(flipped, groups, axis=-1)
    weight = np.concatenate(by_group, axis=-2)  # (*window, channels, features / groups)
    assign(module.weight, np.moveaxis(weight, (-2, -1), (0, 1)))
    if bias is not None:
        assign(module.bias, bias)
    return module


def save(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a golden file, and says how large it is."""
    path = GOLDEN / name
    np.savez_compressed(path, **arrays)
    for key, array in arrays.items():
        assert np.all(np.isfinite(array)), f"{key} is not finite"
    print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size / 1024:.0f} KiB")
