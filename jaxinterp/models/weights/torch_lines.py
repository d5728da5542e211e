"""Layers of torch: the lines that the name maps of torch's checkpoints are made of.

Torch has kernels `(out, in, height, width)` and dense kernels `(out, in)`; ours are
`(height, width, in, out)` and `(in, out)`. What torch calls the weight of a norm is our
scale. Every function here takes the pattern of the layer's name and the layer's path
without its collection, and puts the names of the layer's tensors after both.
"""

from __future__ import annotations

from jaxinterp.models.weights.names import Convert, Entry, NameMap


def convolution(
    pattern: str, path: str, convert_kernel: Convert | None = None
) -> NameMap:
    r"""Returns the lines of a convolution.

    Args:
        pattern: regular expression of the layer's name.
        path: template of the layer's path.
        convert_kernel: any other change of the kernel, once it has our layout.

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
        pattern: regular expression of the layer's name.
        path: template of the layer's path.
        convert_kernel: any other change of the kernel, once it has our layout.
        convert_bias: any change of the bias.
        layout: of the kernel; `""` where it is stored as `(in, out)`.

    Example:
        >>> [entry.pattern for entry in dense("fc", "head")]
        ['fc\\.weight', 'fc\\.bias']
    """
    return (
        Entry(rf"{pattern}\.weight", f"params/{path}/kernel", layout, convert_kernel),
        Entry(rf"{pattern}\.bias", f"params/{path}/bias", "", convert_bias),
    )


def layer_norm(pattern: str, path: str) -> NameMap:
    r"""Returns the lines of a layer norm; old files say gamma and beta.

    Args:
        pattern: regular expression of the layer's name.
        path: template of the layer's path.

    Example:
        >>> [entry.path for entry in layer_norm("norm", "norm")]
        ['params/norm/scale', 'params/norm/bias']
    """
    return (
        Entry(rf"{pattern}\.(?:weight|gamma)", f"params/{path}/scale"),
        Entry(rf"{pattern}\.(?:bias|beta)", f"params/{path}/bias"),
    )


def batch_norm(pattern: str, path: str) -> NameMap:
    r"""Returns the lines of a batch norm, its running statistics included.

    Args:
        pattern: regular expression of the layer's name.
        path: template of the layer's path.

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
