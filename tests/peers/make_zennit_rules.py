"""Makes `tests/golden/zennit_rules.npz`: every rule of zennit on every kind of layer.

A key is `layer/name` or `layer/rule/relevance`. Everything is float64, the batch has 3
examples, inputs and relevances have both signs.

* `layer/input`: `(batch, *spatial, channels)`; `layer/output` and `layer/relevance_out`
  likewise; `layer/rule/relevance` is the relevance of the input, in its shape.
* `layer/kernel`: `(inputs, features)` for layers called `linear*`, which contract the
  last axis; `(*window, channels / groups, features)` for convolutions. `layer/bias`:
  `(features,)`, absent where the layer has none.
* Convolutions, also transposed ones, are

      lax.conv_general_dilated(
          input, kernel, window_strides, padding, lhs_dilation, rhs_dilation,
          dimension_numbers=("NHWC", "HWIO", "NHWC"),  # and alike for 1-d and 3-d
          feature_group_count=groups,
      ) + bias

  with the integer arrays `layer/window_strides`, `layer/padding` of shape (rank, 2),
  `layer/lhs_dilation`, `layer/rhs_dilation`, and the scalar `layer/groups`.
* Transposed convolutions. torch scatters: `y[s i + d k - p] += x[i] w[k]`, with a
  weight `(channels, features / groups, *window)`. Ours gathers from the input dilated
  by `lhs_dilation = s` with strides 1 and the *flipped* window, padded by
  `d (k - 1) - p` before, and `output_padding` more behind. The stored kernel is flipped
  already, its last two axes are those of a convolution. Without groups,
  `lax.conv_transpose(input, kernel, strides=s, padding=padding, rhs_dilation=d,
  transpose_kernel=False)` is the same function.
* Average pooling `avg_pool*`: `layer/window`, `layer/window_strides`, `layer/padding`;
  a window's sum is divided by the window's size, padding included.
* `residual_sum`: the branches are `input[..., 0]` and `input[..., 1]`.
* `relu`, `tanh`: the rules of activations; for `relu`, `relevance_out` is what any of
  them receives, relevance or gradient.
* `layer/low`, `layer/high`: the box of the rule `zbox`, broadcast against `input`.

The rules and their hyperparameters are in `RULES` below. `*_zero_bias` is zennit's
`zero_params="bias"`. The layer `linear_zero_sums` has integers, chosen such that some
outputs and denominators are exactly zero.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
import torch_layouts as layouts
from zennit import core, layer, rules

BATCH = 3
RULES: dict[str, Callable[[], core.Hook]] = {
    "epsilon": lambda: rules.Epsilon(1e-6),
    "epsilon_large": lambda: rules.Epsilon(0.25),
    "epsilon_clip": lambda: rules.Epsilon(core.Stabilizer(0.5, clip=True)),
    "epsilon_norm_scale": lambda: rules.Epsilon(core.Stabilizer(0.1, norm_scale=True)),
    "epsilon_norm_scale_clip": lambda: rules.Epsilon(
        core.Stabilizer(0.5, clip=True, norm_scale=True)
    ),
    "gamma": lambda: rules.Gamma(0.25),
    "gamma_large": lambda: rules.Gamma(2.0),
    "gamma_norm_scale": lambda: rules.Gamma(
        0.25, core.Stabilizer(0.1, norm_scale=True)
    ),
    "zplus": lambda: rules.ZPlus(),
    "zplus_clip": lambda: rules.ZPlus(core.Stabilizer(0.5, clip=True)),
    "alpha2_beta1": lambda: rules.AlphaBeta(2, 1),
    "alpha1_beta0": lambda: rules.AlphaBeta(1, 0),
    "alpha2_beta1_norm_scale": lambda: rules.AlphaBeta(
        2, 1, core.Stabilizer(0.1, norm_scale=True)
    ),
    "zbox_scalar": lambda: rules.ZBox(-3.0, 2.5),
    "wsquare": lambda: rules.WSquare(),
    "flat": lambda: rules.Flat(),
    "norm": lambda: rules.Norm(),
}
WITH_BIAS: dict[str, Callable[[], core.Hook]] = {
    "epsilon_zero_bias": lambda: rules.Epsilon(1e-6, zero_params="bias"),
    "gamma_zero_bias": lambda: rules.Gamma(0.25, zero_params="bias"),
    "zplus_zero_bias": lambda: rules.ZPlus(zero_params="bias"),
    "alpha2_beta1_zero_bias": lambda: rules.AlphaBeta(2, 1, zero_params="bias"),
    "zbox_scalar_zero_bias": lambda: rules.ZBox(-3.0, 2.5, zero_params="bias"),
    "wsquare_zero_bias": lambda: rules.WSquare(zero_params="bias"),
    "flat_zero_bias": lambda: rules.Flat(zero_params="bias"),
}
ACTIVATION_RULES: dict[str, dict[str, Callable[[], core.Hook]]] = {
    "tanh": {"pass": rules.Pass},
    "relu": {
        "pass": rules.Pass,
        "deconvnet": rules.ReLUDeconvNet,
        "guided_backprop": rules.ReLUGuidedBackprop,
        "beta_smooth": lambda: rules.ReLUBetaSmooth(10.0),
        "beta_smooth_1": lambda: rules.ReLUBetaSmooth(1.0),
    },
}


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution to be tested; `output_padding` makes it a transposed one."""

    name: str
    input_shape: tuple[int, ...]
    window: tuple[int, ...]
    features: int
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    keep_bias: bool = True
    output_padding: tuple[int, ...] | None = None


CONVOLUTIONS = (
    Convolution("conv1d", (7, 2), (3,), 3, (1,), (1,), (1,)),
    Convolution("conv1d_dilated", (8, 2), (3,), 2, (2,), (2,), (2,), 1, False),
    Convolution("conv2d", (5, 4, 2), (3, 3), 3, (1, 1), (1, 1), (1, 1)),
    Convolution(
        "conv2d_no_bias", (4, 4, 2), (2, 3), 3, (1, 1), (0, 1), (1, 1), 1, False
    ),
    Convolution("conv2d_stride2", (6, 5, 2), (3, 3), 3, (2, 2), (1, 1), (1, 1)),
    Convolution("conv2d_dilated", (6, 5, 2), (2, 3), 2, (1, 2), (1, 2), (3, 2)),
    Convolution("conv2d_groups", (4, 4, 4), (3, 2), 6, (1, 1), (1, 0), (1, 1), 2),
    Convolution(
        "conv2d_depthwise", (4, 4, 3), (3, 3), 6, (2, 1), (1, 1), (1, 1), 3, False
    ),
    Convolution("conv3d", (3, 4, 3, 2), (2, 2, 2), 2, (1, 2, 1), (0, 1, 0), (1, 1, 1)),
    Convolution(
        "conv_transpose1d", (4, 2), (3,), 2, (2,), (1,), (1,), output_padding=(0,)
    ),
    Convolution(
        "conv_transpose2d",
        (3, 3, 2),
        (3, 3),
        3,
        (2, 2),
        (1, 1),
        (1, 1),
        output_padding=(1, 0),
    ),
    Convolution(
        "conv_transpose2d_groups",
        (3, 2, 4),
        (2, 3),
        6,
        (1, 2),
        (0, 1),
        (2, 1),
        2,
        False,
        (0, 0),
    ),
)


def attribute(
    module: torch.nn.Module, rule: core.Hook, x: torch.Tensor, relevance: torch.Tensor
) -> torch.Tensor:
    """Returns the relevance of `x` under one rule of zennit."""
    handle = rule.register(module)
    leaf = x.clone().requires_grad_()
    (result,) = torch.autograd.grad(module(leaf), leaf, relevance)
    handle.remove()
    return result


def golden(
    name: str,
    module: torch.nn.Module,
    x: np.ndarray,
    rule_table: dict[str, Callable[[], core.Hook]],
    rng: np.random.Generator,
    channels_last: bool = True,
) -> dict[str, np.ndarray]:
    """Returns the arrays of one layer: input, output, relevance by rule."""
    there = layouts.to_torch if channels_last else torch.from_numpy
    back = layouts.from_torch if channels_last else (lambda t: t.detach().numpy())
    output = module(there(x))
    relevance = rng.normal(size=back(output).shape)
    arrays = {"input": x, "output": back(output), "relevance_out": relevance}
    for key, make in rule_table.items():
        result = attribute(module, make(), there(x), there(relevance))
        arrays[f"{key}/relevance"] = back(result)
    return {f"{name}/{key}": value for key, value in arrays.items()}


def signed_inputs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns inputs of both signs, some of them exactly zero."""
    return rng.normal(size=shape) * (rng.uniform(size=shape) > 0.1)


def boxes(
    rng: np.random.Generator, x: np.ndarray, channels_last: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, Callable[[], core.Hook]]]:
    """Returns bounds per channel, and the rules that use them."""
    shape = (1,) * (x.ndim - 1) + (x.shape[-1],)
    low = -3.0 - rng.uniform(size=shape)
    high = 3.0 + rng.uniform(size=shape)
    there = layouts.to_torch if channels_last else torch.from_numpy
    return low, high, {"zbox": lambda: rules.ZBox(there(low), there(high))}


def affine(
    name: str,
    module: torch.nn.Module,
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Returns the arrays of a layer with parameters."""
    channels_last = not isinstance(module, torch.nn.Linear)
    low, high, box_rules = boxes(rng, x, channels_last)
    table = RULES | box_rules | (WITH_BIAS if bias is not None else {})
    arrays = golden(name, module, x, table, rng, channels_last)
    arrays |= {f"{name}/kernel": kernel, f"{name}/low": low, f"{name}/high": high}
    return arrays if bias is None else arrays | {f"{name}/bias": bias}


def linears(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns the arrays of dense layers."""
    arrays = {}
    for name, shape, features, keep_bias in (
        ("linear", (6,), 4, True),
        ("linear_no_bias", (6,), 4, False),
        ("linear_sequence", (3, 4), 5, True),
    ):
        kernel = rng.normal(size=(shape[-1], features))
        bias = rng.normal(size=features) if keep_bias else None
        x = signed_inputs(rng, (BATCH, *shape))
        arrays |= affine(name, layouts.dense(kernel, bias), x, kernel, bias, rng)
    kernel = np.array([[1.0, 2, -1, 0, 1], [1, 0, 2, 0, -2], [2, -1, 1, 0, 0]])
    x = np.array([[1.0, -1, 0], [0, 0, 2], [1, 1, 2]])
    module = layouts.dense(kernel, None)
    return arrays | affine("linear_zero_sums", module, x, kernel, None, rng)


def convolutions(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns the arrays of convolutions, transposed ones included."""
    arrays = {}
    for spec in CONVOLUTIONS:
        rank, channels = len(spec.window), spec.input_shape[-1]
        kernel = rng.normal(size=(*spec.window, channels // spec.groups, spec.features))
        bias = rng.normal(size=spec.features) if spec.keep_bias else None
        x = signed_inputs(rng, (BATCH, *spec.input_shape))
        options = {
            "strides": spec.strides,
            "padding": spec.padding,
            "dilation": spec.dilation,
            "groups": spec.groups,
        }
        if spec.output_padding is None:
            module = layouts.convolution(kernel, bias, **options)
            strides, lhs = spec.strides, (1,) * rank
            padding = [(p, p) for p in spec.padding]
        else:
            extra = spec.output_padding
            module = layouts.transposed_convolution(
                kernel, bias, output_padding=extra, **options
            )
            strides, lhs = (1,) * rank, spec.strides
            reach = [
                d * (k - 1) - p
                for d, k, p in zip(
                    spec.dilation, spec.window, spec.padding, strict=True
                )
            ]
            padding = [(r, r + e) for r, e in zip(reach, extra, strict=True)]
        arrays |= affine(spec.name, module, x, kernel, bias, rng)
        arrays |= {
            f"{spec.name}/window_strides": np.array(strides),
            f"{spec.name}/padding": np.array(padding),
            f"{spec.name}/lhs_dilation": np.array(lhs),
            f"{spec.name}/rhs_dilation": np.array(spec.dilation),
            f"{spec.name}/groups": np.array(spec.groups),
        }
    return arrays


def pools(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns the arrays of average pooling and of a residual sum, under `Norm`."""
    arrays = {}
    table = {
        "norm": rules.Norm,
        "norm_clip": lambda: rules.Norm(core.Stabilizer(0.5, clip=True)),
    }
    for name, shape, window, strides, padding, make in (
        ("avg_pool1d", (6, 2), (2,), (2,), (0,), torch.nn.AvgPool1d),
        ("avg_pool2d", (5, 4, 2), (3, 2), (2, 1), (1, 0), torch.nn.AvgPool2d),
        ("avg_pool2d_global", (3, 4, 2), (3, 4), (3, 4), (0, 0), None),
        (
            "avg_pool3d",
            (2, 4, 3, 2),
            (2, 2, 2),
            (1, 2, 1),
            (0, 0, 0),
            torch.nn.AvgPool3d,
        ),
    ):
        module = (
            torch.nn.AdaptiveAvgPool2d(1)
            if make is None
            else make(window, strides, padding)
        )
        x = signed_inputs(rng, (BATCH, *shape))
        arrays |= golden(name, module, x, table, rng)
        arrays |= {
            f"{name}/window": np.array(window),
            f"{name}/window_strides": np.array(strides),
            f"{name}/padding": np.array([(p, p) for p in padding]),
        }
    x = signed_inputs(rng, (BATCH, 4, 2))
    x[0, :, 1] = -x[0, :, 0] + 1e-3 * rng.normal(size=4)  # branches that nearly cancel
    x[0, 0, 1] = -x[0, 0, 0]  # and that cancel
    return arrays | golden("residual_sum", layer.Sum(-1), x, table, rng, False)


def activations(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns the arrays of activations."""
    arrays = {}
    for name, module in (("tanh", torch.nn.Tanh()), ("relu", torch.nn.ReLU())):
        x = signed_inputs(rng, (BATCH, 4, 3))
        arrays |= golden(name, module, x, ACTIVATION_RULES[name], rng, False)
    return arrays


def main() -> None:
    """Writes the golden file."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    arrays = linears(rng) | convolutions(rng) | pools(rng) | activations(rng)
    layouts.save("zennit_rules.npz", arrays)


if __name__ == "__main__":
    main()
