"""Layers and networks of the golden files in JAX, and relevance through them.

`tests/peers/README.md` says what the files hold. Sums are spelled with explicit
broadcasts, since implicit rank promotion raises here.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxinterp as ji

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SPATIAL = "DHW"
Arrays = dict[str, np.ndarray]
ApplyFn = Callable[[Any, Any], Any]


@functools.cache
def golden(name: str) -> Arrays:
    """Returns the arrays of a golden file."""
    with np.load(GOLDEN / name) as arrays:
        return dict(arrays)


def below(arrays: Arrays, prefix: str) -> Arrays:
    """Returns the arrays below a prefix, without it."""
    start = f"{prefix}/"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def layers(name: str) -> list[str]:
    """Returns the names of the layers of a golden file."""
    return sorted({key.split("/")[0] for key in golden(name)})


def rules_of(data: Arrays) -> list[str]:
    """Returns the names of the rules that a layer of a golden file has."""
    return [k.removesuffix("/relevance") for k in data if k.endswith("/relevance")]


def distance(actual: Any, expected: Any) -> float:
    """Returns the largest difference, relative to each example's largest entry."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    rows = [a.reshape(len(a), -1) for a in (actual - expected, expected)]
    error, size = (np.abs(row).max(axis=1) for row in rows)
    return float((error / np.where(size == 0, 1, size)).max())


def relevance_through(
    apply_fn: ApplyFn, rule: Any, variables: Any, x: Any, relevance: Any
) -> Any:
    """Returns what a rule, the same at every site, sends to the input of a model."""
    composite = rule if isinstance(rule, ji.rules.Composite) else everywhere(rule)
    ruled = ji.with_rules(apply_fn, composite)
    _, pull = jax.vjp(lambda x: ruled(variables, x), x)
    return pull(relevance)[0]


def everywhere(rule: Any) -> ji.rules.Composite:
    """Returns the composite that has one rule for all."""
    return ji.rules.Composite([("*", rule)])


# --- Layers ---------------------------------------------------------------------------


def add_bias(z: jax.Array, bias: Any) -> jax.Array:
    """Adds one number per feature, the last axis."""
    return z + jnp.reshape(bias, (1,) * (z.ndim - 1) + (-1,))


def layer_of(data: Arrays) -> tuple[ApplyFn, dict[str, np.ndarray]]:
    """Returns a layer of a golden file as an apply function, and its variables."""
    variables = {k: data[k] for k in ("kernel", "bias") if k in data}
    if "window" in data:
        return average_pool(data), variables
    linear = convolution(data) if "padding" in data else dense

    def apply_fn(v: Any, x: Any) -> Any:
        z = linear(x, v["kernel"])
        return add_bias(z, v["bias"]) if "bias" in v else z

    return apply_fn, variables


def dense(x: Any, kernel: Any) -> Any:
    """Contracts the last axis."""
    return x @ kernel


def convolution(data: Arrays) -> Callable[[Any, Any], Any]:
    """Returns the convolution, also transposed, of a layer of a golden file."""
    space = SPATIAL[-(data["kernel"].ndim - 2) :]
    return functools.partial(
        lax.conv_general_dilated,
        window_strides=data["window_strides"].tolist(),
        padding=[tuple(pair) for pair in data["padding"].tolist()],
        lhs_dilation=data["lhs_dilation"].tolist(),
        rhs_dilation=data["rhs_dilation"].tolist(),
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        feature_group_count=int(data["groups"]),
    )


def average_pool(data: Arrays) -> ApplyFn:
    """Returns the average pooling of a layer of a golden file."""
    window, strides = (data[k].tolist() for k in ("window", "window_strides"))
    padding = [(0, 0), *(tuple(pair) for pair in data["padding"].tolist()), (0, 0)]

    def apply_fn(v: Any, x: Any) -> Any:
        ones = (1, *window, 1), (1, *strides, 1)
        total = lax.reduce_window(x, 0.0, lax.add, *ones, padding)
        return total / float(np.prod(window))

    return apply_fn


# --- Networks -------------------------------------------------------------------------


def batch_norm(p: Arrays, name: str, x: Any) -> Any:
    """Normalizes by the running statistics, as flax spells it."""
    mean, var, scale, bias = (
        jnp.reshape(p[f"{name}/{k}"], (1, 1, 1, -1))
        for k in ("mean", "var", "scale", "bias")
    )
    return (x - mean) * (lax.rsqrt(var + 1e-5) * scale) + bias


def conv(p: Arrays, name: str, x: Any, stride: int = 1) -> Any:
    """Applies a two-dimensional convolution that keeps the size up to its stride."""
    kernel = p[f"{name}/kernel"]
    reach = kernel.shape[0] // 2
    z = lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(reach, reach)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return add_bias(z, p[f"{name}/bias"]) if f"{name}/bias" in p else z


def max_pool(x: Any, window: int, stride: int, padding: int) -> Any:
    """Takes the largest of each window."""
    ones = (1, window, window, 1), (1, stride, stride, 1)
    pad = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, *ones, pad)


def vgg(p: Arrays, x: Any) -> Any:
    """Returns the logits of the network of `zennit_vgg.npz`."""
    for i in range(6):
        x = jax.nn.relu(batch_norm(p, f"bn{i}", conv(p, f"conv{i}", x)))
        if i in (0, 1, 3):
            x = max_pool(x, 2, 2, 0)
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(add_bias(x @ p["dense0/kernel"], p["dense0/bias"]))
    return add_bias(x @ p["dense1/kernel"], p["dense1/bias"])


def resnet(p: Arrays, x: Any) -> Any:
    """Returns the logits of the network of `zennit_resnet.npz`."""
    x = jax.nn.relu(batch_norm(p, "stem_bn", conv(p, "stem", x)))
    x = max_pool(x, 3, 2, 1)
    for i, stride in enumerate((1, 2, 1)):
        b = f"block{i}"
        y = batch_norm(p, f"{b}/bn0", conv(p, f"{b}/conv0", x, stride))
        y = conv(p, f"{b}/conv1", jax.nn.relu(y))
        y = batch_norm(p, f"{b}/bn1", y)
        if i == 1:
            x = conv(p, f"{b}/projection", x, stride)
            x = batch_norm(p, f"{b}/projection_bn", x)
        x = jax.nn.relu(x + y)
    return add_bias(x.mean((1, 2)) @ p["dense/kernel"], p["dense/bias"])


NETWORKS = {"zennit_vgg.npz": vgg, "zennit_resnet.npz": resnet}
