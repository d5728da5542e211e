"""Recurrent networks as plain functions, each kind in the ways that people write it.

A network reads features of shape (batch, time, features) into states of shape (batch,
time, width). Its loop over time is given: a `scan`, or the same steps written out.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

FEATURES, WIDTH = 4, 3
Loop = Callable[[Callable[..., Any], Any, Any], tuple[Any, Any]]


def normal(seed: int, *shape: int) -> np.ndarray:
    """Returns normal numbers, of a size that keeps sums over the first axis small."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) / np.sqrt(shape[0])


def unrolled(step: Callable[..., Any], state: Any, xs: Any) -> tuple[Any, Any]:
    """`lax.scan` as a Python loop."""
    results = []
    for t in range(jax.tree.leaves(xs)[0].shape[0]):
        state, result = step(state, jax.tree.map(lambda x, t=t: x[t], xs))
        results.append(result)
    return state, jnp.stack(results)


def zeros(x: jax.Array, *shape: int) -> jax.Array:
    """Returns a first state for every example."""
    return jnp.zeros((x.shape[0], *shape), x.dtype)


def over_time(loop: Loop, step: Callable[..., Any], state: Any, x: Any) -> Any:
    """Returns the result of every step, (batch, time, width)."""
    _, results = loop(step, state, jax.tree.map(lambda a: a.swapaxes(0, 1), x))
    return results.swapaxes(0, 1)


# --- Gates ----------------------------------------------------------------------------


def lstm(v: dict[str, Any], x: jax.Array, loop: Loop) -> jax.Array:
    """Hochreiter and Schmidhuber, 1997: one kernel for four gates."""

    def step(state: Any, x_t: jax.Array) -> Any:
        h, c = state
        z = jnp.concatenate([x_t, h], axis=-1) @ v["kernel"] + v["bias"]
        i, f, g, o = jnp.split(z, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = zeros(x, v["bias"].shape[1] // 4)
    return over_time(loop, step, (start, start), x)


def lstm_weights(features: int = FEATURES, width: int = WIDTH) -> dict[str, Any]:
    """Returns the weights of `lstm`."""
    bias = np.repeat([0.0, 2.0, 0.0, 0.0], width)[None]
    return {"kernel": normal(0, features + width, 4 * width), "bias": bias}


def gru(v: dict[str, Any], x: jax.Array, loop: Loop) -> jax.Array:
    """Cho et al., 2014: the reset gate before the recurrent kernel."""

    def step(h: jax.Array, x_t: jax.Array) -> Any:
        r = jax.nn.sigmoid(x_t @ v["wr"] + h @ v["ur"])
        z = jax.nn.sigmoid((x_t @ v["wz"] + 1.0) + h @ v["uz"])
        new = jnp.tanh(x_t @ v["wn"] + (r * h) @ v["un"])
        h = z * h + (1 - z) * new
        return h, h

    return over_time(loop, step, zeros(x, len(v["un"])), x)


def gru_weights(features: int = FEATURES, width: int = WIDTH) -> dict[str, Any]:
    """Returns the weights of `gru`."""
    kernels = {f"w{gate}": normal(i, features, width) for i, gate in enumerate("rzn")}
    states = {f"u{gate}": normal(5 + i, width, width) for i, gate in enumerate("rzn")}
    return kernels | states


# --- Linear recurrences: h = a * h + b ------------------------------------------------


def one_by_one(a: jax.Array, b: jax.Array, loop: Loop) -> jax.Array:
    """The states of a linear recurrence, step by step."""

    def step(h: jax.Array, ab: Any) -> Any:
        h = ab[0] * h + ab[1]
        return h, h

    return over_time(loop, step, jnp.zeros_like(b[:, 0]), (a, b))


def associative(a: jax.Array, b: jax.Array, loop: Loop) -> jax.Array:
    """The same, by a parallel scan."""

    def join(left: Any, right: Any) -> Any:
        return left[0] * right[0], right[0] * left[1] + right[1]

    return lax.associative_scan(join, (a, b), axis=1)[1]


def min_gru(v: dict[str, Any], x: jax.Array, loop: Loop, recur: Any) -> jax.Array:
    """Feng et al., 2024, section 3.1: gates that read no state."""
    z = jax.nn.sigmoid(x @ v["wz"] + v["bz"])
    return recur(1 - z, z * (x @ v["wn"]), loop)


def min_gru_weights(features: int = FEATURES, width: int = WIDTH) -> dict[str, Any]:
    """Returns the weights of `min_gru`."""
    wz, wn = (normal(i, features, width) for i in (10, 11))
    return {"wz": wz, "wn": wn, "bz": np.full((1, 1, width), -1.0)}


def rg_lru(v: dict[str, Any], x: jax.Array, loop: Loop, recur: Any) -> jax.Array:
    """De et al., 2024, section 2.4: a decay that a gate makes slower."""
    slower, gate = jax.nn.sigmoid(x @ v["wr"]), jax.nn.sigmoid(x @ v["wi"])
    decay = jnp.exp(-8 * jax.nn.softplus(v["rate"]) * slower)
    return recur(decay, jnp.sqrt(1 - decay**2) * (gate * (x @ v["wx"])), loop)


def rg_lru_weights(features: int = FEATURES, width: int = WIDTH) -> dict[str, Any]:
    """Returns the weights of `rg_lru`."""
    names = ("wr", "wi", "wx")
    kernels = {n: normal(40 + i, features, width) for i, n in enumerate(names)}
    return kernels | {"rate": np.full((1, 1, width), -4.0)}


def s5(v: dict[str, Any], x: jax.Array, loop: Loop, recur: Any) -> jax.Array:
    """Smith et al., 2023: a diagonal system of complex states, discretized."""
    rate = -jnp.exp(v["log_decay"]) + 1j * v["frequency"]
    decay = jnp.exp(rate * jnp.exp(v["log_step"]))
    driven = (x.astype(rate.dtype) @ v["b"]) * ((decay - 1) / rate)
    h = recur(jnp.broadcast_to(decay, driven.shape), driven, loop)
    return jax.nn.gelu(2 * (h @ v["c"]).real + x @ v["d"])


def s5_weights(features: int = FEATURES, width: int = WIDTH) -> dict[str, Any]:
    """Returns the weights of `s5`, with a state as wide as its outputs."""
    b, c = (
        normal(i, n, width) + 1j * normal(i + 1, n, width)
        for i, n in ((12, features), (30, width))
    )
    return {
        "log_decay": np.full((1, 1, width), -1.0),
        "frequency": np.arange(width)[None, None] / 2,
        "log_step": np.full((1, 1, width), -1.0),
        "b": b,
        "c": c,
        "d": normal(14, features, width),
    }


def mamba(v: dict[str, Any], x: jax.Array, loop: Loop, recur: Any) -> jax.Array:
    """Gu and Dao, 2023: a selective system, whose steps and maps read the input."""
    u, gate = jax.nn.silu(x @ v["in"]), jax.nn.silu(x @ v["gate"])
    step = jax.nn.softplus(u @ v["step"] + v["step_bias"])
    decay = jnp.exp(step[..., None] * -jnp.exp(v["log_decay"]))
    driven = (step * u)[..., None] * (u @ v["b"])[..., None, :]
    h = recur(decay, driven, loop)
    y = jnp.einsum("btdn,btn->btd", h, u @ v["c"]) + v["d"] * u
    return y * gate


def mamba_weights(features: int = FEATURES, width: int = WIDTH) -> dict[str, Any]:
    """Returns the weights of `mamba`, with a state of two numbers a feature."""
    return {
        "in": normal(15, features, width),
        "gate": normal(16, features, width),
        "step": normal(17, width, width),
        "step_bias": np.full((1, 1, width), -1.0),
        "log_decay": np.log(1.0 + np.arange(2.0) + np.zeros((1, 1, width, 1))),
        "b": normal(18, width, 2),
        "c": normal(19, width, 2),
        "d": np.ones((1, 1, width)),
    }


# --- Exponential gates ----------------------------------------------------------------


def slstm(v: dict[str, Any], x: jax.Array, loop: Loop) -> jax.Array:
    """Beck et al., 2024, eqs. 8 to 18: exponential gates, stabilized by a maximum."""

    def step(state: Any, x_t: jax.Array) -> Any:
        h, c, n, m = state
        z = jnp.concatenate([x_t, h], axis=-1) @ v["kernel"] + v["bias"]
        i, f, g, o = jnp.split(z, 4, axis=-1)
        f = jax.nn.log_sigmoid(f)
        highest = jnp.maximum(f + m, i)
        i, f = jnp.exp(i - highest), jnp.exp(f + m - highest)
        c = f * c + i * jnp.tanh(g)
        n = f * n + i
        h = jax.nn.sigmoid(o) * (c / n)
        return (h, c, n, highest), h

    start = zeros(x, v["bias"].shape[1] // 4)
    return over_time(loop, step, (start, start, start, start - jnp.inf), x)


def mlstm(v: dict[str, Any], x: jax.Array, loop: Loop) -> jax.Array:
    """Beck et al., 2024, eqs. 19 to 27: a matrix for a memory, of one head."""
    q, k, value = (x @ v[name] for name in "qkv")
    gates = x @ v["gates"] + v["bias"]
    out = jax.nn.sigmoid(x @ v["o"])

    def step(state: Any, xs: Any) -> Any:
        c, n, m = state
        q, k, value, gates = xs
        i, f = gates[:, :1], jax.nn.log_sigmoid(gates[:, 1:])
        highest = jnp.maximum(f + m, i)
        i, f = jnp.exp(i - highest), jnp.exp(f + m - highest)
        c = f[..., None] * c + i[..., None] * value[:, :, None] * k[:, None, :]
        n = f * n + i * k
        read = jnp.einsum("bvk,bk->bv", c, q)
        size = jnp.abs(jnp.einsum("bk,bk->b", n, q))[:, None]
        return (c, n, highest), read / jnp.maximum(size, jnp.exp(-highest))

    width = value.shape[-1]
    start = zeros(x, width, width), zeros(x, width), zeros(x, 1)
    return out * over_time(loop, step, start, (q, k, value, gates))


slstm_weights = lstm_weights


def mlstm_weights(features: int = FEATURES, width: int = WIDTH) -> dict[str, Any]:
    """Returns the weights of `mlstm`."""
    kernels = {n: normal(20 + i, features, width) for i, n in enumerate("qkvo")}
    return kernels | {
        "gates": normal(24, features, 2),
        "bias": np.array([[[0.0, 2.0]]]),
    }
