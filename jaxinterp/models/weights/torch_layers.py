"""Lines of name maps for single layers of torch: convolution, dense and norms.

Torch has kernels `(out, in, height, width)` and dense kernels `(out, in)`; ours are
`(height, width, in, out)` and `(in, out)`. What torch calls the weight of a norm is our
scale. Every function here takes a pattern of the name of the layer and the path of
the layer in our model, and appends the names of the tensors of the layer to both.
"""

from __future__ import annotations

import numpy as np

from jaxinterp.models.weights.name_map import Convert, Entry, NameMap


def channels_last(height: int, width: int) -> Convert:
    r"""Returns a function that reorders weights which follow a flattening.

    PyTorch flattens `(channels, height, width)`, and a model of JAX `(height, width,
    channels)`. Both orders have the same number of features, so weights in the wrong
    one load without an error, and the outputs are wrong. Write
    `Entry(pattern, path, "oi->io", channels_last(height, width))` for the kernel of
    the first dense layer after a flattening; and `Entry(pattern, path, "",
    channels_last(height, width))` for each array of a batch norm that stands between.

    Args:
        height: the height of the feature maps that are flattened.
        width: the width of the feature maps that are flattened.

    Returns:
        A function for `convert=` of `Entry`. The first axis of its array has `channels
        * height * width` features in the order of PyTorch, and gets the order of JAX.

    Raises:
        ValueError: if `height` or `width` is not positive. The returned function: if
            the first axis of its array is no multiple of `height * width`.

    Example:
        >>> kernel = np.arange(4)[:, None]  # 2 channels of 1 x 2, one output
        >>> channels_last(1, 2)(kernel).ravel().tolist()
        [0, 2, 1, 3]
    """
    if height < 1 or width < 1:
        raise ValueError(
            "`channels_last(height, width)` takes the size of the feature maps that "
            f"are flattened, and is {height} x {width}. `ji.trace` shows it."
        )

    def convert(array: np.ndarray) -> np.ndarray:
        if array.ndim == 0 or array.shape[0] % (height * width):
            raise ValueError(
                f"gives an array of shape {array.shape}, whose first axis is not of "
                f"channels * {height} * {width} features"
            )
        grid = array.reshape(-1, height, width, *array.shape[1:])
        return np.moveaxis(grid, 0, 2).reshape(array.shape)

    return convert


def convolution(
    pattern: str, path: str, convert_kernel: Convert | None = None
) -> NameMap:
    r"""Returns the lines of a convolution.

    Args:
        pattern: a regular expression for the name of the layer in the checkpoint.
        path: the path of the layer in the model, without the collection; groups of the
            pattern are written `\1`.
        convert_kernel: a function that changes the kernel further, in our layout.

    Example:
        >>> [entry.path for entry in convolution(r"stem\.(\d)", r"stem_\1")]
        ['params/stem_\\1/kernel', 'params/stem_\\1/bias']
    """
    return (
        Entry(
            rf"{pattern}\.weight",
            f"params/{path}/kernel",
            "oihw->hwio",
            convert_kernel,
        ),
        Entry(rf"{pattern}\.bias", f"params/{path}/bias"),
    )


def dense(
    pattern: str,
    path: str,
    convert_kernel: Convert | None = None,
    convert_bias: Convert | None = None,
    layout: str = "oi->io",
) -> NameMap:
    r"""Returns the lines of a linear layer.

    Args:
        pattern: a regular expression for the name of the layer in the checkpoint.
        path: the path of the layer in the model, without the collection; groups of the
            pattern are written `\1`.
        convert_kernel: a function that changes the kernel further, in our layout.
        convert_bias: a function that changes the bias.
        layout: how the axes of the kernel are permuted; `""` if it is stored as
            `(in, out)`.

    Example:
        >>> [entry.pattern for entry in dense("fc", "head")]
        ['fc\\.weight', 'fc\\.bias']
    """
    return (
        Entry(rf"{pattern}\.weight", f"params/{path}/kernel", layout, convert_kernel),
        Entry(rf"{pattern}\.bias", f"params/{path}/bias", "", convert_bias),
    )


def layer_norm(pattern: str, path: str) -> NameMap:
    r"""Returns the lines of a layer norm; old files name them gamma and beta.

    Args:
        pattern: a regular expression for the name of the layer in the checkpoint.
        path: the path of the layer in the model, without the collection; groups of the
            pattern are written `\1`.

    Example:
        >>> [entry.path for entry in layer_norm("norm", "norm")]
        ['params/norm/scale', 'params/norm/bias']
    """
    return (
        Entry(rf"{pattern}\.(?:weight|gamma)", f"params/{path}/scale"),
        Entry(rf"{pattern}\.(?:bias|beta)", f"params/{path}/bias"),
    )


def batch_norm(pattern: str, path: str) -> NameMap:
    r"""Returns the lines of a batch norm, with its running statistics.

    Args:
        pattern: a regular expression for the name of the layer in the checkpoint.
        path: the path of the layer in the model, without the collection; groups of the
            pattern are written `\1`.

    Example:
        >>> [entry.path for entry in batch_norm("bn1", "bn1")][2:]
        ['batch_stats/bn1/mean', 'batch_stats/bn1/var', '']
    """
    return (
        Entry(rf"{pattern}\.weight", f"params/{path}/scale"),
        Entry(rf"{pattern}\.bias", f"params/{path}/bias"),
        Entry(rf"{pattern}\.running_mean", f"batch_stats/{path}/mean"),
        Entry(rf"{pattern}\.running_var", f"batch_stats/{path}/var"),
        Entry(rf"{pattern}\.num_batches_tracked", ""),
    )
