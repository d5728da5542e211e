"""More functions in many spellings: products of several activations, masks, mixtures.

The tables are as those of `tables.py`; the arrays in `W` are weights as those there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn import relu, sigmoid, silu, softmax

from tests.spellings.tables import (
    DEPTHWISE,
    KEPT,
    MASK,
    MASKED,
    Kind,
    Spelling,
    attention,
    dot,
    heads,
    keep,
    mix,
    over,
    random,
    top,
    total,
    unary,
    window,
)

W: dict[str, Any] = {
    "mix": jnp.asarray(np.random.default_rng(5).uniform(0.1, 0.9, 3)),
    "prior": random(77, 4, 4),
    "is word": jnp.array([True, True, False, True])[:, None],
}
W["word"] = W["is word"].astype(float)

# --- Products -------------------------------------------------------------------------


def three(spelling: Callable[[Any, Any, Any], Any]) -> Spelling:
    """A product of what three dense layers make of `h`."""

    def spelled(w: Any, h: Any) -> Any:
        return spelling(h @ w["square"], h @ w["square"].T, h @ w["square"][::-1])

    return spelled


SILU_GATE = {
    "silu": three(lambda a, b, c: silu(a) * b),
    "turned": three(lambda a, b, c: b * silu(a)),
    "by hand": three(lambda a, b, c: a * sigmoid(a) * b),
    "einsum": three(lambda a, b, c: jnp.einsum("bi,bi->bi", silu(a), b)),
    "quotient first": three(lambda a, b, c: a / (1 + jnp.exp(-a)) * b),
    "factor inside": three(lambda a, b, c: sigmoid(a) * b * a),
    "factor first": three(lambda a, b, c: b * sigmoid(a) * a),
    "gate last": three(lambda a, b, c: a * b * sigmoid(a)),
    "product inside": three(lambda a, b, c: sigmoid(a) * (b * a)),
}
RELU_GATE = {
    "relu": three(lambda a, b, c: relu(a) * b),
    "turned": three(lambda a, b, c: b * relu(a)),
    "choice first": three(lambda a, b, c: jnp.where(a > 0, a, 0) * b),
    "mask first": three(lambda a, b, c: (a > 0) * a * b),
    "maximum": three(lambda a, b, c: b * jnp.maximum(a, 0)),
    "choice last": three(lambda a, b, c: jnp.where(a > 0, a * b, 0)),
    "choice turned": three(lambda a, b, c: jnp.where(a <= 0, 0, b * a)),
    "mask last": three(lambda a, b, c: (a > 0) * (a * b)),
    "mask between": three(lambda a, b, c: a * b * (a > 0)),
}
THREE_FACTORS = {
    "left": three(lambda a, b, c: (jnp.tanh(a) * b) * c),
    "right": three(lambda a, b, c: jnp.tanh(a) * (b * c)),
    "outer first": three(lambda a, b, c: jnp.tanh(a) * c * b),
    "turned": three(lambda a, b, c: c * (b * jnp.tanh(a))),
    "einsum": three(lambda a, b, c: jnp.einsum("bi,bi,bi->bi", jnp.tanh(a), b, c)),
    "einsum, turned": three(
        lambda a, b, c: jnp.einsum("bi,bi,bi->bi", b, c, jnp.tanh(a))
    ),
    "doubled and halved": three(lambda a, b, c: 2 * (jnp.tanh(a) * b) * c / 2),
    "in columns": three(lambda a, b, c: ((b * c).T * jnp.tanh(a).T).T),
    "negative": three(lambda a, b, c: -(b * -(c * jnp.tanh(a)))),
}
THREE_WITH_A_GATE = {
    "left": three(lambda a, b, c: (sigmoid(a) * b) * c),
    "right": three(lambda a, b, c: sigmoid(a) * (b * c)),
    "outer first": three(lambda a, b, c: sigmoid(a) * c * b),
    "gate last": three(lambda a, b, c: b * c * sigmoid(a)),
    "turned": three(lambda a, b, c: c * (b * sigmoid(a))),
    "einsum": three(lambda a, b, c: jnp.einsum("bi,bi,bi->bi", sigmoid(a), b, c)),
    "einsum, turned": three(
        lambda a, b, c: jnp.einsum("bi,bi,bi->bi", c, sigmoid(a), b)
    ),
    "tanh": three(lambda a, b, c: b * (0.5 + 0.5 * jnp.tanh(a / 2)) * c),
}


def trilinear(spelling: Callable[..., Any]) -> Spelling:
    return lambda w, h: spelling(*heads(w, h))


LINEAR_ATTENTION = {
    "scores first": trilinear(lambda q, k, v: (q @ k.mT) @ v),
    "values first": trilinear(lambda q, k, v: q @ (k.mT @ v)),
    "einsum": trilinear(lambda q, k, v: jnp.einsum("bqd,bkd,bkv->bqv", q, k, v)),
    "einsum, turned": trilinear(
        lambda q, k, v: jnp.einsum("bkd,bkv,bqd->bqv", k, v, q)
    ),
    "query scaled": trilinear(lambda q, k, v: ((q / 2) @ k.mT) @ v * 2),
    "scores scaled": trilinear(lambda q, k, v: ((q @ k.mT) / 2) @ v * 2),
    "vmap": trilinear(jax.vmap(lambda q, k, v: q @ (k.T @ v))),
    "products and sums": trilinear(
        lambda q, k, v: (
            (q[:, :, None] * k[:, None]).sum(-1)[..., None] * v[:, None]
        ).sum(2)
    ),
    "sums of products": trilinear(lambda q, k, v: jnp.einsum("bqd,bkd->bqk", q, k) @ v),
}

# --- A value that is read twice -------------------------------------------------------


def twice(one: Callable[..., Any], other: Callable[..., Any] | None = None) -> Spelling:
    """Two layers that read the same value, each its own copy."""

    def spelled(w: Any, h: Any) -> Any:
        first, second = one(w, h), (other or one)(w, h)
        return jnp.concatenate([first @ w["kernel"], second @ w["square"]], 1)

    return spelled


def shared(w: Any, h: Any) -> Any:
    a = relu(h @ w["square"])
    return jnp.concatenate([a @ w["kernel"], a @ w["square"]], 1)


def hidden(w: Any, h: Any) -> Any:
    z = h @ w["square"]
    return jnp.concatenate([relu(z) @ w["kernel"], relu(z) @ w["square"]], 1)


READ_TWICE = {
    "shared": shared,
    "activation twice": hidden,
    "layer and activation twice": twice(lambda w, h: relu(h @ w["square"])),
    "under jit": twice(jax.jit(lambda w, h: relu(h @ w["square"]))),
    "maximum twice": twice(lambda w, h: jnp.maximum(h @ w["square"], 0)),
    "two spellings": twice(
        lambda w, h: relu(h @ w["square"]), lambda w, h: jnp.maximum(h @ w["square"], 0)
    ),
    "by a mask": twice(lambda w, h: (lambda z: z * (z > 0))(h @ w["square"])),
    "by a choice": twice(
        lambda w, h: (lambda z: jnp.where(z > 0, z, 0))(h @ w["square"]),
        lambda w, h: -jnp.minimum(-(h @ w["square"]), 0),
    ),
    "one product": lambda w, h: (
        relu(h @ w["square"]) @ jnp.concatenate([w["kernel"], w["square"]], 1)
    ),
}

# --- Mixtures -------------------------------------------------------------------------


def before(h: Any) -> Any:
    return jnp.pad(h, ((0, 0), (1, 0), (0, 0)))[:, :-1]


TOKEN_SHIFT = {
    "difference": lambda w, h: h + w["mix"] * (before(h) - h),
    "difference turned": lambda w, h: before(h) + (1 - w["mix"]) * (h - before(h)),
    "two weights": lambda w, h: (1 - w["mix"]) * h + w["mix"] * before(h),
    "turned": lambda w, h: before(h) * w["mix"] + h * (1 - w["mix"]),
    "negative": lambda w, h: h - w["mix"] * (h - before(h)),
    "concatenated": lambda w, h: (
        (1 - w["mix"]) * h
        + w["mix"] * jnp.concatenate([jnp.zeros_like(h[:, :1]), h[:, :-1]], 1)
    ),
    "rolled": lambda w, h: (
        w["mix"] * jnp.roll(h, 1, 1).at[:, 0].set(0) + h * (1 - w["mix"])
    ),
    "mask": lambda w, h: (
        w["mix"] * (jnp.roll(h, 1, 1) * (np.arange(6) > 0)[None, :, None])
        + h * (1 - w["mix"])
    ),
    "squared root": lambda w, h: (
        h * (1 - jnp.sqrt(w["mix"]) ** 2) + w["mix"] * before(h)
    ),
}

# --- Masks ----------------------------------------------------------------------------

LEFT_OUT = (~KEPT).astype(float)
SUBTRACTED = {
    "where": MASKED["where"],
    **unary(
        subtracted=lambda h: h - h * (~KEPT),
        subtracted_numbers=lambda h: h - LEFT_OUT * h,
        subtracted_copies=lambda h: h - h * jnp.broadcast_to(LEFT_OUT, h.shape),
        subtracted_rows=lambda h: jax.vmap(lambda row: row - row * LEFT_OUT)(h),
        subtracted_comparison=lambda h: h - h * (jnp.arange(6) % 3 == 1),
        one_less=lambda h: h * (1 - LEFT_OUT),
        set_to_zero=lambda h: h.at[:, np.array([1, 4])].set(0),
    ),
}
BELOW = unary(
    where=lambda h: jnp.where(KEPT, h, -1e9),
    turned=lambda h: jnp.where(~KEPT, -1e9, h),
    select=lambda h: lax.select(
        jnp.broadcast_to(KEPT, h.shape), h, jnp.full_like(h, -1e9)
    ),
    minimum=lambda h: jnp.minimum(h, np.where(KEPT, np.inf, -1e9)),
    minimum_of_finite=lambda h: jnp.minimum(np.where(KEPT, 1e30, -1e9), h),
    minimum_of_a_choice=lambda h: jnp.minimum(h, jnp.where(KEPT, jnp.inf, -1e9)),
    bound_first=lambda h: jnp.minimum(np.where(KEPT, np.inf, -1e9), h),
    set_to=lambda h: h.at[:, np.array([1, 4])].set(-1e9),
)
BY_WEIGHTS = {  # what is a mask is not known while the function is traced
    "where": lambda w, h: jnp.where(w["is word"], h, 0),
    "where turned": lambda w, h: jnp.where(~w["is word"], 0, h),
    "factor": lambda w, h: h * w["is word"],
    "numbers": lambda w, h: h * w["word"],
    "numbers first": lambda w, h: w["word"][None] * h,
    "rest": lambda w, h: h * (1 - (1 - w["word"])),
    "subtracted": lambda w, h: h - h * (1 - w["word"]),
    "choice of numbers": lambda w, h: h * jnp.where(w["is word"], 1.0, 0.0),
}


def rolled(w: Any, h: Any, keep: Callable[..., Any], after: bool = False) -> Any:
    y = 0
    for i in range(3):
        mask, kernel = (
            np.arange(6)[None, :, None] >= i,
            w["depthwise"][None, None, 2 - i],
        )
        moved = jnp.roll(h, i, 1)
        y = y + (keep(moved * kernel, mask) if after else keep(moved, mask) * kernel)
    return y


def gathered(h: Any) -> Any:
    places = np.arange(6)[:, None] - np.arange(3)
    return h[:, np.clip(places, 0, 5)] * (places >= 0)[None, :, :, None]


BY_MASKS = {
    "convolution": window,
    "shifts": DEPTHWISE["shifts"],
    "rolled": lambda w, h: rolled(w, h, lambda x, mask: x * mask),
    "rolled, numbers": lambda w, h: rolled(
        w, h, lambda x, mask: x * mask.astype(float)
    ),
    "rolled, choice": lambda w, h: rolled(w, h, lambda x, mask: jnp.where(mask, x, 0)),
    "rolled, masked last": lambda w, h: rolled(w, h, lambda x, mask: x * mask, True),
    "rolled, choice last": lambda w, h: rolled(
        w, h, lambda x, mask: jnp.where(mask, x, 0), True
    ),
    "gathered": lambda w, h: jnp.einsum(
        "btkc,kc->btc", gathered(h), w["depthwise"][::-1]
    ),
    "gathered, product and sum": lambda w, h: (gathered(h) * w["depthwise"][::-1]).sum(
        2
    ),
}
NUMBERS = MASK.astype(float)
RENORMALIZED = {
    "inside": attention(dot, mix, lambda s: softmax(jnp.where(MASK, s, -1e30))),
    "factor": attention(dot, mix, lambda s: over(softmax(s) * MASK)),
    "numbers": attention(dot, mix, lambda s: over(softmax(s) * NUMBERS)),
    "choice": attention(dot, mix, lambda s: over(jnp.where(MASK, softmax(s), 0))),
    "by hand": attention(dot, mix, lambda s: over(over(jnp.exp(s - top(s))) * MASK)),
    "in the sum": attention(
        dot, mix, lambda s: (lambda p: p * MASK / total(p * MASK))(softmax(s))
    ),
    "reciprocal": attention(
        dot, mix, lambda s: (lambda p: p * (1 / total(p)))(softmax(s) * MASK)
    ),
    "minimum": attention(
        dot, mix, lambda s: softmax(jnp.minimum(s, np.where(MASK, np.inf, -1e30)))
    ),
    "twice": attention(dot, mix, lambda s: over(over(softmax(s) * MASK) * MASK)),
}


def biased(soft: Callable[[Any, Any], Any]) -> Spelling:
    return lambda w, h: attention(dot, mix, lambda s: soft(s, w["prior"]))(w, h)


BIASED = {
    "inside": biased(lambda s, b: softmax(s + b)),
    "turned": biased(lambda s, b: softmax(b[None] + s)),
    "difference": biased(lambda s, b: softmax(s - -b)),
    "exp": biased(lambda s, b: over(jnp.exp(s + b))),
    "shifted": biased(lambda s, b: (lambda t: over(jnp.exp(t - top(t))))(s + b)),
    "log_softmax": biased(lambda s, b: jnp.exp(jax.nn.log_softmax(s + b))),
    "logsumexp": biased(
        lambda s, b: (lambda t: jnp.exp(t - keep(jax.nn.logsumexp)(t)))(s + b)
    ),
    "base two": biased(lambda s, b: over(jnp.exp2((s + b) / np.log(2)))),
    "a factor afterwards": biased(lambda s, b: over(softmax(s) * jnp.exp(b))),
    "a factor of exponentials": biased(lambda s, b: over(jnp.exp(s) * jnp.exp(b))),
}

KINDS = {
    "silu gate": Kind(SILU_GATE),
    "relu gate": Kind(RELU_GATE),
    "three factors": Kind(THREE_FACTORS),
    "three factors, one a gate": Kind(THREE_WITH_A_GATE),
    "linear attention": Kind(LINEAR_ATTENTION, (4, 3)),
    "read twice": Kind(READ_TWICE),
    "token shift": Kind(TOKEN_SHIFT, (6, 3)),
    "token shift, first": Kind(TOKEN_SHIFT, (6, 3), first=True),
    "subtracted": Kind(SUBTRACTED),
    "subtracted, first": Kind(SUBTRACTED, first=True),
    "set below": Kind(BELOW),
    "masked by weights": Kind(BY_WEIGHTS, (4, 3)),
    "masked by weights, first": Kind(BY_WEIGHTS, (4, 3), first=True),
    "windows by masks": Kind(BY_MASKS, (6, 3)),
    "windows by masks, first": Kind(BY_MASKS, (6, 3), first=True),
    "renormalized": Kind(RENORMALIZED, (4, 3)),
    "biased attention": Kind(BIASED, (4, 3)),
}

# What is an error for rules of activations alone, and of equal relevance.
HIDDEN = {
    *(("silu gate", name) for name in list(SILU_GATE)[5:]),
    *(("relu gate", name) for name in list(RELU_GATE)[5:]),
}
# What is an error in the relevance presets.
ERRORS = {
    ("biased attention", "a factor afterwards"): "role unknown",
    ("biased attention", "a factor of exponentials"): "role unknown",
}
