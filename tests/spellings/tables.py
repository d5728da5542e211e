"""One function in many spellings, kind by kind; the first of each is the usual one.

A spelling is a function of an activation `h`, and of the arrays in `W` where the kind
has weights. The network around it makes relevance that tells spellings apart.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

Spelling = Callable[[Mapping[str, Any], Any], Any]


class Kind(NamedTuple):
    """A function, its spellings, and the shape of what it reads.

    Attributes:
        spellings: the spellings by name.
        shape: the shape of `h`, without the axis of the examples.
        first: whether `h` is the input of the network itself.
    """

    spellings: Mapping[str, Spelling]
    shape: tuple[int, ...] = (6,)
    first: bool = False


def random(seed: int, *shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def positive(seed: int, *shape: int) -> Any:
    return jnp.exp(random(seed, *shape) / 3)


W: dict[str, Any] = {
    "kernel": random(0, 6, 5),
    "square": random(1, 6, 6),
    "bias": random(2, 5),
    "window": random(3, 3, 3),
    "depthwise": random(4, 3, 3),
    "gain": positive(5, 6),
    "shift": random(6, 6),
    "mean": random(7, 6),
    "variance": positive(8, 6),
    "query": random(9, 3, 4),
    "key": random(10, 3, 4),
    "value": random(11, 3, 4),
    "image": random(12, 3, 3, 2, 4),
    "words": random(13, 7, 6),
    "slope": jnp.asarray(0.2),
    "steep": jnp.asarray(3.0),
}


def unary(**functions: Callable[[Any], Any]) -> dict[str, Spelling]:
    """Spellings without weights."""
    return {
        name.replace("_", " "): (lambda w, h, f=f: f(h))
        for name, f in functions.items()
    }


def keep(reduce: Any) -> Callable[[Any], Any]:
    return functools.partial(reduce, axis=-1, keepdims=True)


mean, total, top, var = keep(jnp.mean), keep(jnp.sum), keep(jnp.max), keep(jnp.var)
ONES = jnp.ones((6, 6))
EPS = 1e-5

# --- Affine maps ----------------------------------------------------------------------

DENSE = {
    "matmul": lambda w, h: h @ w["kernel"],
    "einsum": lambda w, h: jnp.einsum("bi,ij->bj", h, w["kernel"]),
    "transposed": lambda w, h: (w["kernel"].T @ h.T).T,
    "vmap": lambda w, h: jax.vmap(lambda row: w["kernel"].T @ row)(h),
    "product and sum": lambda w, h: (h[:, :, None] * w["kernel"]).sum(1),
    "product and sum, transposed": lambda w, h: (w["kernel"].T * h[:, None]).sum(-1),
    "columns": lambda w, h: sum(h[:, i : i + 1] * w["kernel"][i] for i in range(6)),
    "stacked dots": lambda w, h: jnp.stack(
        [(h * w["kernel"][:, j]).sum(1) for j in range(5)], 1
    ),
    "scaled": lambda w, h: (2 * h) @ (w["kernel"] / 2),
    "two parts": lambda w, h: jnp.concatenate(
        [h @ w["kernel"][:, :2], h @ w["kernel"][:, 2:]], 1
    ),
    "zeros in front": lambda w, h: (
        jnp.pad(h, ((0, 0), (2, 0)))
        @ jnp.pad(w["kernel"], ((2, 0), (0, 0)), constant_values=1.0)
    ),
    "blocks": lambda w, h: h[:, :3] @ w["kernel"][:3] + h[:, 3:] @ w["kernel"][3:],
    "blocks of a split": lambda w, h: sum(
        part @ w["kernel"][2 * i : 2 * i + 2]
        for i, part in enumerate(jnp.split(h, 3, axis=1))
    ),
    "even and odd": lambda w, h: (
        h[:, ::2] @ w["kernel"][::2] - h[:, 1::2] @ -w["kernel"][1::2]
    ),
    "a batch of blocks": lambda w, h: jnp.einsum(
        "bki,kij->kbj", h.reshape(-1, 2, 3), w["kernel"].reshape(2, 3, 5)
    ).sum(0),
    "float cast": lambda w, h: lax.convert_element_type(h, "float64") @ w["kernel"],
}

BIAS = {
    "sum": lambda w, h: h @ w["kernel"] + w["bias"],
    "bias first": lambda w, h: w["bias"] + h @ w["kernel"],
    "difference": lambda w, h: h @ w["kernel"] - (-w["bias"]),
    "negative": lambda w, h: -(h @ -w["kernel"] - w["bias"]),
    "a column of ones": lambda w, h: (
        jnp.concatenate([h, jnp.ones((len(h), 1))], 1)
        @ jnp.concatenate([w["kernel"], w["bias"][None]])
    ),
    "a column of ones, set": lambda w, h: (
        jnp.ones((len(h), 7)).at[:, :6].set(h)
        @ jnp.concatenate([w["kernel"], w["bias"][None]])
    ),
    "a column of ones, padded": lambda w, h: (
        jnp.pad(h, ((0, 0), (0, 1)), constant_values=1.0)
        @ jnp.concatenate([w["kernel"], w["bias"][None]])
    ),
    "accumulated": lambda w, h: (
        lax.fori_loop(0, 1, lambda i, y: y, w["bias"]) + h @ w["kernel"]
    ),
    "nn.Dense": lambda w, h: nn.Dense(5, param_dtype="float64").apply(
        {"params": {"kernel": w["kernel"], "bias": w["bias"]}}, h
    ),
    "product and sum": lambda w, h: (h[:, :, None] * w["kernel"]).sum(1) + w["bias"],
    "two halves": lambda w, h: (h @ w["kernel"] + w["bias"] / 2) + w["bias"] / 2,
}


def window_by_shifts(w: Any, h: Any) -> Any:
    padded = jnp.pad(h, ((0, 0), (2, 0), (0, 0)))
    return sum(padded[:, i : i + 6] * w["depthwise"][None, None, i] for i in range(3))


def window_by_stack(w: Any, h: Any) -> Any:
    padded = jnp.pad(h, ((0, 0), (2, 0), (0, 0)))
    stacked = jnp.stack([padded[:, i : i + 6] for i in range(3)], 1)
    return (stacked * w["depthwise"][None, :, None]).sum(1)


def window(w: Any, h: Any, padding: Any = ((2, 0),)) -> Any:
    return lax.conv_general_dilated(
        h,
        w["depthwise"][:, None],
        (1,),
        padding,
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=3,
    )


def window_by_roll(w: Any, h: Any) -> Any:
    y = h * w["depthwise"][None, None, 2]
    for i in (1, 2):
        moved = jnp.concatenate([jnp.zeros_like(h[:, :i]), h[:, :-i]], 1)
        y = y + moved * w["depthwise"][None, None, 2 - i]
    return y


DEPTHWISE = {
    "convolution": window,
    "shifts": window_by_shifts,
    "a stack of shifts": window_by_stack,
    "concatenated zeros": window_by_roll,
    "padded before": lambda w, h: window(
        w, jnp.pad(h, ((0, 0), (2, 0), (0, 0))), "VALID"
    ),
    "zeros set": lambda w, h: window(
        w, jnp.zeros((len(h), 8, 3)).at[:, 2:].set(h), "VALID"
    ),
    "dynamic slices": lambda w, h: sum(
        lax.dynamic_slice_in_dim(jnp.pad(h, ((0, 0), (2, 0), (0, 0))), i, 6, 1)
        * w["depthwise"][None, None, i]
        for i in range(3)
    ),
    "differences": lambda w, h: functools.reduce(
        lambda a, b: a - b,
        [
            jnp.pad(h, ((0, 0), (2, 0), (0, 0)))[:, i : i + 6]
            * (w["depthwise"] * jnp.array([1.0, -1.0, -1.0])[:, None])[None, None, i]
            for i in range(3)
        ],
    ),
    "terms in another order": lambda w, h: sum(
        w["depthwise"][None, None, i]
        * jnp.pad(h, ((0, 0), (2, 0), (0, 0)))[:, i : i + 6]
        for i in (2, 0, 1)
    ),
}


def convolution(w: Any, h: Any, padding: Any = "SAME") -> Any:
    return lax.conv_general_dilated(
        h, w["image"], (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


EDGE = ((0, 0), (1, 1), (1, 1), (0, 0))


def framed(h: Any) -> Any:
    row = jnp.zeros((len(h), 1, 4, 2))
    h = jnp.concatenate([row, h, row], 1)
    column = jnp.zeros((len(h), 6, 1, 2))
    return jnp.concatenate([column, h, column], 2)


def shifted(h: Any) -> list[Any]:
    h = jnp.pad(h, EDGE)
    return [h[:, i : i + 4, j : j + 4] for i in range(3) for j in range(3)]


def by_shifted_products(w: Any, h: Any) -> Any:
    kernels = w["image"].reshape(9, 2, 4)
    return sum(x @ kernel for x, kernel in zip(shifted(h), kernels, strict=True))


def by_products_shifted(w: Any, h: Any) -> Any:
    products = (
        jnp.pad(h @ w["image"][i, j], ((0, 0), (2 - i, i), (2 - j, j), (0, 0)))
        for i in range(3)
        for j in range(3)
    )
    return sum(products)[:, 1:-1, 1:-1]


PLACES = np.arange(4)[:, None] + np.arange(3)

PADDING = {
    "an argument": convolution,
    "numbers": lambda w, h: convolution(w, h, ((1, 1), (1, 1))),
    "jnp.pad": lambda w, h: convolution(w, jnp.pad(h, EDGE), "VALID"),
    "lax.pad": lambda w, h: convolution(
        w, lax.pad(h, 0.0, [(a, b, 0) for a, b in EDGE]), "VALID"
    ),
    "concatenated": lambda w, h: convolution(w, framed(h), "VALID"),
    "set": lambda w, h: convolution(
        w, jnp.zeros((len(h), 6, 6, 2)).at[:, 1:-1, 1:-1].set(h), "VALID"
    ),
    "added": lambda w, h: convolution(
        w, jnp.zeros((len(h), 6, 6, 2)).at[:, 1:-1, 1:-1].add(h), "VALID"
    ),
    "dynamic_update_slice": lambda w, h: convolution(
        w,
        lax.dynamic_update_slice(jnp.zeros((len(h), 6, 6, 2)), h, (0, 1, 1, 0)),
        "VALID",
    ),
    "half and half": lambda w, h: convolution(
        w, jnp.pad(h, ((0, 0), (1, 1), (0, 0), (0, 0))), ((0, 0), (1, 1))
    ),
    "shifted products": by_shifted_products,
    "shifted products, padded afterwards": by_products_shifted,
    "a stack of copies": lambda w, h: jnp.einsum(
        "kbhwc,kcd->bhwd", jnp.stack(shifted(h)), w["image"].reshape(9, 2, 4)
    ),
    "copies side by side": lambda w, h: (
        jnp.concatenate(shifted(h), -1) @ w["image"].reshape(18, 4)
    ),
    "patches": lambda w, h: (
        lax.conv_general_dilated_patches(
            h, (3, 3), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        @ w["image"].transpose(2, 0, 1, 3).reshape(18, 4)
    ),
    "places": lambda w, h: jnp.einsum(
        "bhiwjc,ijcd->bhwd",
        jnp.pad(h, EDGE)[:, PLACES][:, :, :, PLACES],
        w["image"],
    ),
    "rows of convolutions": lambda w, h: sum(
        convolution({"image": w["image"][i : i + 1]}, row, ((0, 0), (1, 1)))
        for i, row in enumerate(jnp.pad(h, EDGE)[:, i : i + 4, 1:-1] for i in range(3))
    ),
    "channels one by one": lambda w, h: sum(
        convolution({"image": w["image"][:, :, i : i + 1]}, h[..., i : i + 1])
        for i in range(2)
    ),
    "nn.Conv": lambda w, h: nn.Conv(
        4, (3, 3), use_bias=False, param_dtype="float64"
    ).apply({"params": {"kernel": w["image"]}}, h),
}

BATCH_NORM = {
    "centered": lambda w, h: (
        (h - w["mean"]) / jnp.sqrt(w["variance"] + EPS) * w["gain"] + w["shift"]
    ),
    "rsqrt": lambda w, h: (
        (h - w["mean"]) * lax.rsqrt(w["variance"] + EPS) * w["gain"] + w["shift"]
    ),
    "gain inside": lambda w, h: (
        (h - w["mean"]) * (lax.rsqrt(w["variance"] + EPS) * w["gain"]) + w["shift"]
    ),
    "folded": lambda w, h: (lambda i: h * i + (w["shift"] - w["mean"] * i))(
        w["gain"] * lax.rsqrt(w["variance"] + EPS)
    ),
    "power": lambda w, h: (
        (h - w["mean"]) * (w["variance"] + EPS) ** -0.5 * w["gain"] + w["shift"]
    ),
    "nn.BatchNorm": lambda w, h: nn.BatchNorm(
        use_running_average=True, param_dtype="float64"
    ).apply(
        {
            "params": {"scale": w["gain"], "bias": w["shift"]},
            "batch_stats": {"mean": w["mean"], "var": w["variance"]},
        },
        h,
    ),
    "jax.nn.standardize": lambda w, h: (
        jax.nn.standardize(h, mean=w["mean"], variance=w["variance"], epsilon=EPS)
        * w["gain"]
        + w["shift"]
    ),
    "negative": lambda w, h: (
        w["shift"] - (w["mean"] - h) / jnp.sqrt(w["variance"] + EPS) * w["gain"]
    ),
}

# --- Activations ----------------------------------------------------------------------

RELU = unary(
    jax_nn=jax.nn.relu,
    maximum=lambda h: jnp.maximum(h, 0),
    minimum=lambda h: -jnp.minimum(-h, 0),
    where=lambda h: jnp.where(h > 0, h, 0),
    where_turned=lambda h: jnp.where(h <= 0, 0, h),
    mask=lambda h: h * (h > 0),
    half_of_absolute=lambda h: (h + jnp.abs(h)) / 2,
    half_times=lambda h: 0.5 * (h + jnp.abs(h)),
    difference=lambda h: h - jnp.minimum(h, 0),
    clip=lambda h: jnp.clip(h, 0, None),
    doubled=lambda h: jnp.maximum(2 * h, 0) / 2,
    negative_doubled=lambda h: jnp.minimum(-2 * h, 0) * -0.5,
    sign=lambda h: h * (1 + jnp.sign(h)) / 2,
    nn=nn.relu,
    heaviside=lambda h: h * jnp.heaviside(h, 0.0),
)
LEAKY = unary(
    jax_nn=lambda h: jax.nn.leaky_relu(h, 0.2),
    where=lambda h: jnp.where(h > 0, h, 0.2 * h),
    maximum=lambda h: jnp.maximum(h, 0.2 * h),
    two_relus=lambda h: jax.nn.relu(h) - 0.2 * jax.nn.relu(-h),
    two_parts=lambda h: jnp.maximum(h, 0) + 0.2 * jnp.minimum(h, 0),
    absolute=lambda h: 0.6 * h + 0.4 * jnp.abs(h),
    factor=lambda h: h * jnp.where(h > 0, 1, 0.2),
    minimum=lambda h: -jnp.minimum(-h, -0.2 * h),
    mix=lambda h: 0.2 * h + 0.8 * jnp.maximum(h, 0),
) | {
    "prelu": lambda w, h: nn.PReLU(param_dtype="float64").apply(
        {"params": {"negative_slope": w["slope"]}}, h
    ),
}
STEEP = {  # as a weight: by how much is not known while the function is traced
    "where": lambda w, h: jnp.where(h > 0, h, w["steep"] * h),
    "where, turned": lambda w, h: jnp.where(h <= 0, w["steep"] * h, h),
    "minimum": lambda w, h: jnp.minimum(h, w["steep"] * h),
    "maximum": lambda w, h: -jnp.maximum(-h, w["steep"] * -h),
    "two parts": lambda w, h: jnp.maximum(h, 0) + w["steep"] * jnp.minimum(h, 0),
    "two relus": lambda w, h: jax.nn.relu(h) - w["steep"] * jax.nn.relu(-h),
    "factor": lambda w, h: h * jnp.where(h > 0, 1, w["steep"]),
    "leaky_relu": lambda w, h: jax.nn.leaky_relu(h, w["steep"]),
    "nn.PReLU": lambda w, h: nn.PReLU(param_dtype="float64").apply(
        {"params": {"negative_slope": w["steep"]}}, h
    ),
}
C = np.sqrt(2 / np.pi)
GELU = unary(
    jax_nn=jax.nn.gelu,
    nn=nn.gelu,
    factors=lambda h: 0.5 * h * (1 + jnp.tanh(C * (h + 0.044715 * h**3))),
    half_last=lambda h: h * (1 + jnp.tanh(C * (h + 0.044715 * h**3))) / 2,
    half_inside=lambda h: h * (0.5 + 0.5 * jnp.tanh(C * (h + 0.044715 * h * h * h))),
    sigmoid=lambda h: h * jax.nn.sigmoid(2 * C * (h + 0.044715 * h**3)),
    quotient=lambda h: h / (1 + jnp.exp(-2 * C * (h + 0.044715 * h**3))),
    sum_of_two=lambda h: 0.5 * h + 0.5 * h * jnp.tanh(C * (h + 0.044715 * h**3)),
    negative=lambda h: -(-h * (0.5 + 0.5 * jnp.tanh(C * (h + 0.044715 * h**3)))),
    power=lambda h: 0.5 * h * (1 + jnp.tanh(C * (h + 0.044715 * jnp.power(h, 3)))),
)
SILU = unary(
    jax_nn=jax.nn.silu,
    swish=jax.nn.swish,
    sigmoid=lambda h: h * jax.nn.sigmoid(h),
    logistic=lambda h: lax.logistic(h) * h,
    quotient=lambda h: h / (1 + jnp.exp(-h)),
    reciprocal=lambda h: h * (1 / (1 + jnp.exp(-h))),
    tanh=lambda h: 0.5 * h * (1 + jnp.tanh(h / 2)),
    exponentials=lambda h: h * jnp.exp(h) / (1 + jnp.exp(h)),
    negative=lambda h: -(-h * jax.nn.sigmoid(h)),
)
TANH = unary(
    tanh=jnp.tanh,
    odd=lambda h: -jnp.tanh(-h),
    sigmoid=lambda h: 2 * jax.nn.sigmoid(2 * h) - 1,
    sigmoid_turned=lambda h: 1 - 2 * jax.nn.sigmoid(-2 * h),
    exponentials=lambda h: (jnp.exp(h) - jnp.exp(-h)) / (jnp.exp(h) + jnp.exp(-h)),
    one_exponential=lambda h: (jnp.exp(2 * h) - 1) / (jnp.exp(2 * h) + 1),
    expm1=lambda h: jnp.expm1(2 * h) / (jnp.expm1(2 * h) + 2),
    ratio=lambda h: jnp.sinh(h) / jnp.cosh(h),
    nn=nn.tanh,
)

# --- Softmax --------------------------------------------------------------------------


def over(e: Any) -> Any:
    return e / total(e)


SEGMENTS = jnp.zeros(6, int)


def by_segments(h: Any) -> Any:
    def one(row: Any) -> Any:
        peak = jax.ops.segment_max(row, SEGMENTS, 1)
        e = jnp.exp(row - peak[SEGMENTS])
        return e / jax.ops.segment_sum(e, SEGMENTS, 1)[SEGMENTS]

    return jax.vmap(one)(h)


def one_at_a_time(h: Any) -> Any:
    def step(carry: Any, column: Any) -> Any:
        peak, weight = carry
        higher = jnp.maximum(peak, column)
        weight = weight * jnp.exp(peak - higher) + jnp.exp(column - higher)
        return (higher, weight), None

    start = jnp.full(len(h), -1e30), jnp.zeros(len(h))
    (peak, weight), _ = lax.scan(step, start, h.T)
    return jnp.exp(h - peak[:, None]) / weight[:, None]


SOFTMAX = unary(
    jax_nn=jax.nn.softmax,
    exp=lambda h: over(jnp.exp(h)),
    shifted=lambda h: over(jnp.exp(h - top(h))),
    base_two=lambda h: over(jnp.exp2(h * (1 / np.log(2)))),
    a_power=lambda h: over(jnp.e**h),
    base_two_shifted=lambda h: over(jnp.exp2((h - top(h)) / np.log(2))),
    sum_by_matmul=lambda h: (lambda e: e / (e @ jnp.ones((6, 1))))(jnp.exp(h)),
    sum_by_square_matmul=lambda h: (lambda e: e / (e @ ONES))(jnp.exp(h)),
    sum_by_einsum=lambda h: (lambda e: e / jnp.einsum("bi->b", e)[:, None])(
        jnp.exp(h - top(h))
    ),
    reciprocal=lambda h: (lambda e: e * (1 / total(e)))(jnp.exp(h - top(h))),
    power=lambda h: (lambda e: e * total(e) ** -1)(jnp.exp(h)),
    log_softmax=lambda h: jnp.exp(jax.nn.log_softmax(h)),
    logsumexp=lambda h: jnp.exp(h - jax.nn.logsumexp(h, axis=-1, keepdims=True)),
    expm1=lambda h: over(jnp.expm1(h) + 1),
    one_over=lambda h: over(1 / jnp.exp(-h)),
    squared_halves=lambda h: over(jnp.exp(h / 2) ** 2),
    segments=by_segments,
    online=one_at_a_time,
    stopped_shift=lambda h: over(jnp.exp(h - lax.stop_gradient(top(h)))),
    mean_instead=lambda h: (lambda e: e / mean(e) / 6)(jnp.exp(h)),
    a_root_of_its_square=lambda h: over(jnp.sqrt(jax.nn.softmax(2 * h))),
    a_power_of_its_root=lambda h: over(jax.nn.softmax(h / 3) ** 3),
    differences=lambda h: 1 / jnp.exp(h[:, None, :] - h[:, :, None]).sum(-1),
)
LOG_SOFTMAX = unary(
    jax_nn=jax.nn.log_softmax,
    log_of_softmax=lambda h: jnp.log(jax.nn.softmax(h)),
    by_hand=lambda h: h - jnp.log(total(jnp.exp(h))),
    logsumexp=lambda h: h - jax.nn.logsumexp(h, axis=-1, keepdims=True),
    shifted=lambda h: (lambda s: s - jnp.log(total(jnp.exp(s))))(h - top(h)),
    subtracted_last=lambda h: h - (top(h) + jnp.log(total(jnp.exp(h - top(h))))),
    log_of_quotient=lambda h: jnp.log(over(jnp.exp(h))),
    base_two=lambda h: (
        np.log(2) * (h / np.log(2) - jnp.log2(total(jnp.exp2(h / np.log(2)))))
    ),
    sum_by_matmul=lambda h: h - jnp.log(jnp.exp(h) @ jnp.ones((6, 1))),
    negative=lambda h: -(jnp.log(total(jnp.exp(h))) - h),
)

# --- Normalization --------------------------------------------------------------------


def affine_after(f: Callable[[Any], Any]) -> Spelling:
    return lambda w, h: f(h) * w["gain"] + w["shift"]


def ended_in_a_sum(w: Any, h: Any) -> Any:
    i = lax.rsqrt(var(h) + EPS) * w["gain"]
    return h * i + (w["shift"] - mean(h) * i)


LAYER_NORM = {
    "two passes": affine_after(lambda h: (h - mean(h)) / jnp.sqrt(var(h) + EPS)),
    "rsqrt": affine_after(lambda h: (h - mean(h)) * lax.rsqrt(var(h) + EPS)),
    "ends in a sum": ended_in_a_sum,
    "ends in a difference": lambda w, h: (lambda i: h * i - (mean(h) * i - w["shift"]))(
        lax.rsqrt(var(h) + EPS) * w["gain"]
    ),
    "ends in two sums": lambda w, h: (lambda i: (h * i - mean(h) * i) + w["shift"])(
        lax.rsqrt(var(h) + EPS) * w["gain"]
    ),
    "gain inside": lambda w, h: (
        (h - mean(h)) * (lax.rsqrt(var(h) + EPS) * w["gain"]) + w["shift"]
    ),
    "fast variance": affine_after(
        lambda h: (h - mean(h)) * lax.rsqrt(mean(h * h) - mean(h) ** 2 + EPS)
    ),
    "clipped variance": affine_after(
        lambda h: (
            (h - mean(h)) * lax.rsqrt(jnp.maximum(mean(h * h) - mean(h) ** 2, 0) + EPS)
        )
    ),
    "mean by matmul": affine_after(
        lambda h: (lambda c: c / jnp.sqrt((c * c) @ (ONES / 6) + EPS))(
            h - h @ (ONES / 6)
        )
    ),
    "mean by a column": affine_after(
        lambda h: (lambda c: c * lax.rsqrt((c * c) @ jnp.full((6, 1), 1 / 6) + EPS))(
            h - h @ jnp.full((6, 1), 1 / 6)
        )
    ),
    "mean by einsum": affine_after(
        lambda h: (h - jnp.einsum("bi->b", h)[:, None] / 6) * lax.rsqrt(var(h) + EPS)
    ),
    "power": affine_after(lambda h: (h - mean(h)) * (var(h) + EPS) ** -0.5),
    "nn.LayerNorm": lambda w, h: nn.LayerNorm(epsilon=EPS, param_dtype="float64").apply(
        {"params": {"scale": w["gain"], "bias": w["shift"]}}, h
    ),
    "standardize": affine_after(lambda h: jax.nn.standardize(h, epsilon=EPS)),
    "clipped root": affine_after(
        lambda h: (h - mean(h)) * jnp.minimum(lax.rsqrt(var(h) + EPS), 1e12)
    ),
}
RMS_NORM = {
    "rsqrt": lambda w, h: h * lax.rsqrt(mean(h * h) + EPS) * w["gain"],
    "division": lambda w, h: h / jnp.sqrt(mean(h * h) + EPS) * w["gain"],
    "square": lambda w, h: h * lax.rsqrt(mean(jnp.square(h)) + EPS) * w["gain"],
    "gain inside": lambda w, h: h * (lax.rsqrt(mean(h * h) + EPS) * w["gain"]),
    "gain by einsum": lambda w, h: jnp.einsum(
        "bi,i->bi", h * lax.rsqrt(mean(h * h) + EPS), w["gain"]
    ),
    "gain first": lambda w, h: w["gain"] * (h * lax.rsqrt(mean(h * h) + EPS)),
    "power": lambda w, h: h * (mean(h**2) + EPS) ** -0.5 * w["gain"],
    "einsum": lambda w, h: (
        h * lax.rsqrt(jnp.einsum("bi,bi->b", h, h)[:, None] / 6 + EPS) * w["gain"]
    ),
    "matmul": lambda w, h: (
        h * lax.rsqrt((h * h) @ jnp.full((6, 1), 1 / 6) + EPS) * w["gain"]
    ),
    "vdot": lambda w, h: jax.vmap(
        lambda r: r * lax.rsqrt(jnp.vdot(r, r) / 6 + EPS) * w["gain"]
    )(h),
    "norm": lambda w, h: (
        h
        / jnp.sqrt(jnp.linalg.norm(h, axis=-1, keepdims=True) ** 2 / 6 + EPS)
        * w["gain"]
    ),
    "nn.RMSNorm": lambda w, h: nn.RMSNorm(epsilon=EPS, param_dtype="float64").apply(
        {"params": {"scale": w["gain"]}}, h
    ),
}


def grouped(h: Any) -> Any:
    return h.reshape(len(h), 2, 3)


def group_norm(w: Any, h: Any) -> Any:
    g = grouped(h)
    g = (g - mean(g)) / jnp.sqrt(var(g) + EPS)
    return g.reshape(h.shape) * w["gain"] + w["shift"]


def group_norm_in_a_sum(w: Any, h: Any) -> Any:
    g = grouped(h)
    i = lax.rsqrt(var(g) + EPS) * w["gain"].reshape(2, 3)
    g = g * i + (w["shift"].reshape(2, 3) - mean(g) * i)
    return g.reshape(h.shape)


def repeated(statistic: Any) -> Any:
    return jnp.repeat(statistic[..., 0], 3, axis=-1)


GROUP_NORM = {
    "reshape": group_norm,
    "ends in a sum": group_norm_in_a_sum,
    "repeated statistics": lambda w, h: (
        (h - repeated(mean(grouped(h))))
        * repeated(lax.rsqrt(var(grouped(h)) + EPS))
        * w["gain"]
        + w["shift"]
    ),
    "nn.GroupNorm": lambda w, h: nn.GroupNorm(
        2, epsilon=EPS, param_dtype="float64"
    ).apply({"params": {"scale": w["gain"], "bias": w["shift"]}}, h),
    "vmap": lambda w, h: (
        jax.vmap(lambda g: (g - mean(g)) * lax.rsqrt(var(g) + EPS), 1, 1)(
            grouped(h)
        ).reshape(h.shape)
        * w["gain"]
        + w["shift"]
    ),
    "standardize": lambda w, h: (
        jax.nn.standardize(grouped(h), epsilon=EPS).reshape(h.shape) * w["gain"]
        + w["shift"]
    ),
    "two axes": lambda w, h: (
        (
            lambda g: (
                (g - g.mean(2, keepdims=True))
                / jnp.sqrt(
                    jnp.square(g - g.mean(2, keepdims=True)).mean(2, keepdims=True)
                    + EPS
                )
            )
        )(grouped(h)).reshape(h.shape)
        * w["gain"]
        + w["shift"]
    ),
    "gain in groups": lambda w, h: (
        jax.nn.standardize(grouped(h), epsilon=EPS) * w["gain"].reshape(2, 3)
        + w["shift"].reshape(2, 3)
    ).reshape(h.shape),
    "means by einsum": lambda w, h: (
        (
            lambda g: (
                (g - jnp.einsum("bgi->bg", g)[..., None] / 3) * lax.rsqrt(var(g) + EPS)
            ).reshape(h.shape)
        )(grouped(h))
        * w["gain"]
        + w["shift"]
    ),
}


def length(h: Any) -> Any:
    return jnp.sqrt(total(h * h))


UNIT_NORM = unary(
    division=lambda h: h / length(h),
    linalg=lambda h: h / jnp.linalg.norm(h, axis=-1, keepdims=True),
    a_floor=lambda h: h / jnp.maximum(length(h), 1e-12),
    rsqrt=lambda h: h * lax.rsqrt(total(h * h)),
    clipped_afterwards=lambda h: h * jnp.minimum(lax.rsqrt(total(h * h)), 1e12),
    clipped_before=lambda h: h * lax.rsqrt(jnp.maximum(total(h * h), 1e-24)),
    power=lambda h: h * total(h**2) ** -0.5,
    einsum=lambda h: h / jnp.sqrt(jnp.einsum("bi,bi->b", h, h))[:, None],
    where=lambda h: h / jnp.where(length(h) == 0, 1, length(h)),
    reciprocal=lambda h: h * (1 / length(h)),
    matmul=lambda h: h / jnp.sqrt((h * h) @ jnp.ones((6, 1))),
)

# --- Pooling --------------------------------------------------------------------------


def windows(h: Any) -> Any:
    return h.reshape(len(h), 2, 2, 2, 2, 2)


def corners(h: Any) -> list[Any]:
    return [h[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]


def reduce_windows(h: Any, start: float, operation: Any) -> Any:
    return lax.reduce_window(h, start, operation, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


MAX_POOL = unary(
    nn=lambda h: nn.max_pool(h, (2, 2), (2, 2)),
    reduce_window=lambda h: reduce_windows(h, -jnp.inf, lax.max),
    reshape=lambda h: windows(h).max((2, 4)),
    in_turn=lambda h: windows(h).max(4).max(2),
    corners=lambda h: functools.reduce(jnp.maximum, corners(h)),
    stacked_corners=lambda h: jnp.stack(corners(h)).max(0),
    minimum=lambda h: -reduce_windows(-h, jnp.inf, lax.min),
    sorted=lambda h: jnp.sort(jnp.stack(corners(h), -1), axis=-1)[..., -1],
    patches=lambda h: functools.reduce(
        jnp.maximum, [h[:, i::2, j::2] for j in (1, 0) for i in (1, 0)]
    ),
)
AVERAGE_POOL = unary(
    nn=lambda h: nn.avg_pool(h, (2, 2), (2, 2)),
    reduce_window=lambda h: reduce_windows(h, 0.0, lax.add) / 4,
    reshape=lambda h: windows(h).mean((2, 4)),
    in_turn=lambda h: windows(h).mean(4).mean(2),
    corners=lambda h: sum(corners(h)) / 4,
    quarters=lambda h: sum(0.25 * c for c in corners(h)),
    stacked_corners=lambda h: jnp.stack(corners(h)).mean(0),
    einsum=lambda h: jnp.einsum("bhiwjc->bhwc", windows(h)) / 4,
    convolution=lambda h: lax.conv_general_dilated(
        h,
        jnp.full((2, 2, 1, 2), 0.25),
        (2, 2),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=2,
    ),
)

# --- Rotary embeddings ----------------------------------------------------------------

ANGLE = np.array([0.3, 1.1, 2.5])
COS, SIN = np.cos(ANGLE), np.sin(ANGLE)
QUARTER = np.eye(6)[[3, 4, 5, 0, 1, 2]] * np.repeat([1.0, -1.0], 3)[:, None]
ROTATION = np.diag(np.tile(COS, 2)) + QUARTER * np.tile(SIN, 2)


def halves(h: Any) -> tuple[Any, Any]:
    return h[:, :3], h[:, 3:]


def turned(a: Any, b: Any) -> tuple[Any, Any]:
    return a * COS - b * SIN, a * SIN + b * COS


def by_pairs(h: Any) -> Any:
    pairs = jnp.stack(halves(h), -1)
    pairs = jnp.stack(turned(pairs[..., 0], pairs[..., 1]), -1).reshape(h.shape)
    return jnp.concatenate([pairs[:, ::2], pairs[:, 1::2]], 1)


def by_complex_numbers(h: Any) -> Any:
    z = lax.complex(*halves(h)) * np.exp(1j * ANGLE)
    return jnp.concatenate([z.real, z.imag], 1)


def quarter(h: Any) -> Any:
    a, b = halves(h)
    return jnp.concatenate([-b, a], 1)


ROTARY = unary(
    quarter_turn=lambda h: h * np.tile(COS, 2) + quarter(h) * np.tile(SIN, 2),
    halves=lambda h: jnp.concatenate(turned(*halves(h)), 1),
    split=lambda h: jnp.concatenate(turned(*jnp.split(h, 2, axis=1)), 1),
    stacked=lambda h: jnp.stack(turned(*halves(h)), 1).reshape(h.shape),
    pairs=by_pairs,
    fixed=lambda h: (lambda c, s: h * c + quarter(h) * s)(
        *(jnp.tile(f(jnp.asarray(ANGLE)), 2) for f in (jnp.cos, jnp.sin))
    ),
    matrix=lambda h: h @ ROTATION,
    quarter_turn_by_matrix=lambda h: (
        h * np.tile(COS, 2) + (h @ QUARTER) * np.tile(SIN, 2)
    ),
    roll=lambda h: (
        h * np.tile(COS, 2)
        + jnp.roll(h, 3, 1) * (np.repeat([-1, 1], 3) * np.tile(SIN, 2))
    ),
    complex_numbers=by_complex_numbers,
)

# --- Sums, gates, attention -----------------------------------------------------------

RESIDUAL = {
    "sum": lambda w, h: h + jax.nn.relu(h @ w["square"]),
    "turned": lambda w, h: jax.nn.relu(h @ w["square"]) + h,
    "jnp.add": lambda w, h: jnp.add(h, jax.nn.relu(h @ w["square"])),
    "difference": lambda w, h: h - (-jax.nn.relu(h @ w["square"])),
    "stack": lambda w, h: jnp.stack([h, jax.nn.relu(h @ w["square"])]).sum(0),
    "mean": lambda w, h: jnp.stack([h, jax.nn.relu(h @ w["square"])]).mean(0) * 2,
    "einsum": lambda w, h: jnp.einsum(
        "sbi->bi", jnp.stack([h, jax.nn.relu(h @ w["square"])])
    ),
    "at": lambda w, h: h.at[:].add(jax.nn.relu(h @ w["square"])),
    "sum of a list": lambda w, h: sum([h, jax.nn.relu(h @ w["square"])]),
    "concatenated": lambda w, h: (lambda both: both[:, :6] + both[:, 6:])(
        jnp.concatenate([h, jax.nn.relu(h @ w["square"])], 1)
    ),
}


def gated(w: Any, h: Any) -> tuple[Any, Any]:
    return h @ w["square"], h @ w["square"].T


GATE = {
    "sigmoid": lambda w, h: (lambda a, b: jax.nn.sigmoid(a) * b)(*gated(w, h)),
    "turned": lambda w, h: (lambda a, b: b * jax.nn.sigmoid(a))(*gated(w, h)),
    "quotient": lambda w, h: (lambda a, b: b / (1 + jnp.exp(-a)))(*gated(w, h)),
    "reciprocal": lambda w, h: (lambda a, b: b * (1 / (1 + jnp.exp(-a))))(*gated(w, h)),
    "tanh": lambda w, h: (lambda a, b: b * (0.5 + 0.5 * jnp.tanh(a / 2)))(*gated(w, h)),
    "glu": lambda w, h: jax.nn.glu(jnp.concatenate(gated(w, h)[::-1], 1)),
    "split": lambda w, h: (lambda parts: jax.nn.sigmoid(parts[0]) * parts[1])(
        jnp.split(h @ jnp.concatenate([w["square"], w["square"].T], 1), 2, axis=1)
    ),
    "the rest of the other": lambda w, h: (lambda a, b: (1 - jax.nn.sigmoid(-a)) * b)(
        *gated(w, h)
    ),
    "einsum": lambda w, h: (lambda a, b: jnp.einsum("bi,bi->bi", jax.nn.sigmoid(a), b))(
        *gated(w, h)
    ),
    "logistic": lambda w, h: (lambda a, b: lax.logistic(a) * b)(*gated(w, h)),
}


def product(spelling: Callable[[Any, Any], Any]) -> Spelling:
    """A product of an activation of every position with one of their mean."""

    def spelled(w: Any, h: Any) -> Any:
        q, k, _ = heads(w, h)
        return spelling(jnp.tanh(q), jnp.tanh(k).mean(1))

    return spelled


PRODUCT = {
    "star": product(lambda a, b: a * b[:, None]),
    "turned": product(lambda a, b: b[:, None] * a),
    "copies": product(lambda a, b: a * jnp.broadcast_to(b[:, None], a.shape)),
    "positions last": product(lambda a, b: (a.mT * b[..., None]).mT),
    "vmap": product(jax.vmap(lambda a, b: a * b)),
    "einsum": product(lambda a, b: jnp.einsum("btc,bc->btc", a, b)),
    "turned einsum": product(lambda a, b: jnp.einsum("bc,btc->btc", b, a)),
    "einsum, positions last": product(lambda a, b: jnp.einsum("btc,bc->bct", a, b).mT),
    "dot_general": product(
        lambda a, b: lax.dot_general(a, b, (((), ()), ((0, 2), (0, 1)))).mT
    ),
    "outer": product(
        lambda a, b: jnp.einsum("btc,bd->btcd", a, b)[..., np.arange(4), np.arange(4)]
    ),
}


def heads(w: Any, h: Any) -> tuple[Any, Any, Any]:
    return h @ w["query"], h @ w["key"], h @ w["value"]


def attention(
    scores: Callable[..., Any], mix: Callable[..., Any], soft: Any = jax.nn.softmax
) -> Spelling:
    def spelling(w: Any, h: Any) -> Any:
        q, k, v = heads(w, h)
        return mix(soft(scores(q, k)), v)

    return spelling


def dot(q: Any, k: Any) -> Any:
    return jnp.einsum("bqd,bkd->bqk", q, k) / 2


def mix(a: Any, v: Any) -> Any:
    return jnp.einsum("bqk,bkd->bqd", a, v)


ATTENTION = {
    "einsum": attention(dot, mix),
    "matmul": attention(lambda q, k: q @ k.swapaxes(1, 2) / 2, jnp.matmul),
    "query scaled": attention(lambda q, k: jnp.einsum("bqd,bkd->bqk", q / 2, k), mix),
    "root": attention(
        lambda q, k: jnp.einsum("bqd,bkd->bqk", q, k) / jnp.sqrt(4.0), mix
    ),
    "by hand": attention(dot, mix, lambda s: over(jnp.exp(s - top(s)))),
    "base two": attention(dot, mix, lambda s: over(jnp.exp2(s / np.log(2)))),
    "scores turned": attention(lambda q, k: jnp.einsum("bkd,bqd->bqk", k, q) / 2, mix),
    "vmap": lambda w, h: jax.vmap(
        lambda r: (
            jax.nn.softmax((r @ w["query"]) @ (r @ w["key"]).T / 2) @ (r @ w["value"])
        )
    )(h),
    "dot_product_attention": lambda w, h: jax.nn.dot_product_attention(
        *(x[:, :, None] for x in heads(w, h))
    )[:, :, 0],
    "divided last": lambda w, h: (
        lambda q, k, v: (lambda e: mix(e, v) / total(e))(
            jnp.exp(dot(q, k) - top(dot(q, k)))
        )
    )(*heads(w, h)),
}
MASK = jnp.tril(jnp.ones((4, 4), bool))
MASKED_ATTENTION = {
    "where": attention(dot, mix, lambda s: jax.nn.softmax(jnp.where(MASK, s, -1e9))),
    "where, infinite": attention(
        dot, mix, lambda s: jax.nn.softmax(jnp.where(MASK, s, -jnp.inf))
    ),
    "where=": attention(dot, mix, lambda s: jax.nn.softmax(s, where=MASK)),
    "added": attention(
        dot, mix, lambda s: jax.nn.softmax(s + jnp.where(MASK, 0, -1e5))
    ),
    "added, infinite": attention(
        dot, mix, lambda s: jax.nn.softmax(s + jnp.where(MASK, 0, -jnp.inf))
    ),
    "after exp": attention(dot, mix, lambda s: over(jnp.where(MASK, jnp.exp(s), 0))),
    "a factor": attention(dot, mix, lambda s: over(jnp.exp(s) * MASK)),
    "float minimum": attention(
        dot,
        mix,
        lambda s: jax.nn.softmax(jnp.where(MASK, s, jnp.finfo(s.dtype).min)),
    ),
    "dot_product_attention": lambda w, h: jax.nn.dot_product_attention(
        *(x[:, :, None] for x in heads(w, h)), is_causal=True
    )[:, :, 0],
}

# --- Embedding, dropout ---------------------------------------------------------------

DROPOUT = unary(
    identity=lambda h: h,
    nn=lambda h: nn.Dropout(0.5, deterministic=True).apply({}, h),
    rate_zero=lambda h: nn.Dropout(0.0, deterministic=False).apply({}, h),
    one=lambda h: h * 1.0,
    kept=lambda h: jnp.where(True, h, 0),
    mask=lambda h: h * jnp.ones(h.shape, bool),
    kept_all=lambda h: jnp.where(jnp.ones(h.shape, bool), h, 0) / 1.0,
    cond=lambda h: lax.cond(True, lambda h: h, jnp.zeros_like, h),
    select=lambda h: lax.select(jnp.ones(h.shape, bool), h, jnp.zeros_like(h)),
    quotient=lambda h: h / (1 - 0.0),
)

# --- Masks ----------------------------------------------------------------------------

KEPT = np.array([True, False, True, True, False, True])
MASKED = unary(
    where=lambda h: jnp.where(KEPT, h, 0),
    factor=lambda h: h * KEPT,
    turned=lambda h: KEPT.astype(float) * h,
    numbers=lambda h: h * jnp.where(KEPT, 1.0, 0.0),
    rest=lambda h: h * (1 - (~KEPT).astype(float)),
    comparison=lambda h: h * (jnp.arange(6) % 3 != 1),
    by_comparison=lambda h: jnp.where(jnp.arange(6) % 3 == 1, 0, h),
    select=lambda h: lax.select(jnp.broadcast_to(KEPT, h.shape), h, jnp.zeros_like(h)),
    multiplied=lambda h: h.at[:, np.flatnonzero(~KEPT)].set(0),
    every_row=lambda h: h * jnp.broadcast_to(jnp.asarray(KEPT), h.shape),
)
LENGTHS = np.array([3, 2])[:, None, None]
IS_WORD = np.arange(4)[None, :, None] < LENGTHS
MASKED_MEAN = unary(
    where=lambda h: jnp.where(IS_WORD, h, 0).sum(1) / LENGTHS[:, 0],
    factor=lambda h: (h * IS_WORD).sum(1) / LENGTHS[:, 0],
    numbers=lambda h: (h * IS_WORD.astype(float)).sum(1) / LENGTHS[:, 0],
    mean=lambda h: (h * IS_WORD).mean(1) * (4 / LENGTHS[:, 0]),
    einsum=lambda h: (
        jnp.einsum("bsc,bs->bc", h, IS_WORD[..., 0].astype(float)) / LENGTHS[:, 0]
    ),
    count=lambda h: (h * IS_WORD).sum(1) / jnp.asarray(IS_WORD).sum(1),
    where_=lambda h: jnp.mean(h, axis=1, where=IS_WORD),
    sum_where=lambda h: jnp.sum(h, axis=1, where=IS_WORD) / LENGTHS[:, 0],
    divided_before=lambda h: (h * IS_WORD / LENGTHS).sum(1),
)

IMAGE = (4, 4, 2)
SQUARED_RELU = unary(
    power=lambda h: jax.nn.relu(h) ** 2,
    where=lambda h: jnp.where(h > 0, h * h, 0),
    product=lambda h: jax.nn.relu(h) * h,
    twice=lambda h: jax.nn.relu(h) * jax.nn.relu(h),
    square=lambda h: jnp.square(jnp.maximum(h, 0)),
    mask=lambda h: h * h * (h > 0),
    where_inside=lambda h: jnp.where(h > 0, h, 0) ** 2,
    minimum=lambda h: jnp.minimum(-h, 0) ** 2,
)
SIGMOID = unary(
    jax_nn=jax.nn.sigmoid,
    logistic=lax.logistic,
    by_hand=lambda h: 1 / (1 + jnp.exp(-h)),
    tanh=lambda h: 0.5 + 0.5 * jnp.tanh(h / 2),
    log_sigmoid=lambda h: jnp.exp(jax.nn.log_sigmoid(h)),
    softplus=lambda h: jnp.exp(-jax.nn.softplus(-h)),
    rest=lambda h: 1 - jax.nn.sigmoid(-h),
    power=lambda h: (1 + jnp.exp(-h)) ** -1,
)

KINDS = {
    "dense": Kind(DENSE),
    "dense, first": Kind(DENSE, first=True),
    "bias": Kind(BIAS),
    "bias, first": Kind(BIAS, first=True),
    "depthwise": Kind(DEPTHWISE, (6, 3)),
    "depthwise, first": Kind(DEPTHWISE, (6, 3), first=True),
    "padding": Kind(PADDING, IMAGE),
    "padding, first": Kind(PADDING, IMAGE, first=True),
    "batch norm": Kind(BATCH_NORM),
    "relu": Kind(RELU),
    "leaky relu": Kind(LEAKY),
    "steep prelu": Kind(STEEP),
    "gelu": Kind(GELU),
    "silu": Kind(SILU),
    "tanh": Kind(TANH),
    "squared relu": Kind(SQUARED_RELU),
    "sigmoid": Kind(SIGMOID),
    "softmax": Kind(SOFTMAX),
    "log-softmax": Kind(LOG_SOFTMAX),
    "layer norm": Kind(LAYER_NORM),
    "RMS norm": Kind(RMS_NORM),
    "group norm": Kind(GROUP_NORM),
    "unit norm": Kind(UNIT_NORM),
    "max pooling": Kind(MAX_POOL, IMAGE),
    "average pooling": Kind(AVERAGE_POOL, IMAGE),
    "rotary": Kind(ROTARY),
    "residual": Kind(RESIDUAL),
    "gate": Kind(GATE),
    "product": Kind(PRODUCT, (4, 3)),
    "attention": Kind(ATTENTION, (4, 3)),
    "masked attention": Kind(MASKED_ATTENTION, (4, 3)),
    "dropout off": Kind(DROPOUT),
    "masked": Kind(MASKED),
    "masked, first": Kind(MASKED, first=True),
    "masked mean": Kind(MASKED_MEAN, (4, 3)),
    "masked mean, first": Kind(MASKED_MEAN, (4, 3), first=True),
}
