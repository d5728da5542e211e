"""Linen modules and bare functions that the tests of addresses and loops share."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax


class Block(nn.Module):
    """A residual block."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = nn.relu(nn.Dense(4)(x))
        return x + nn.Dense(4)(h)


class Step(nn.Module):
    """A block in the form that `nn.scan` takes."""

    @nn.compact
    def __call__(self, x: jax.Array, _: Any) -> tuple[jax.Array, None]:
        return Block()(x), None


class Scanned(nn.Module):
    """Three blocks whose weights are stacked."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(4, name="stem")(x)
        blocks = nn.scan(
            Step, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )
        return nn.Dense(3, name="head")(blocks(name="blocks")(x, None)[0])


class Rematerialized(nn.Module):
    """Two blocks that are computed again in the backward pass."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.remat(Block)(name="first")(x)
        return nn.remat(Block)(name="second")(x)


class Reused(nn.Module):
    """A layer and a block that run more than once."""

    def setup(self) -> None:
        self.layer = nn.Dense(4)
        self.block = Block()

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(self.layer(nn.relu(self.layer(x))))
        return self.layer(self.block(self.block(x)))


def mlp(variables: Any, x: jax.Array) -> jax.Array:
    """Two layers of a bare pytree of weights, and a head."""
    for layer in variables["layers"]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ variables["head"]


def step(w: jax.Array, x: jax.Array) -> jax.Array:
    """One step of the recurrences below."""
    return jnp.tanh(x @ w) + x


def unrolled(w: jax.Array, x: jax.Array) -> jax.Array:
    """Four steps, written out."""
    for _ in range(4):
        x = step(w, x)
    return x


def scanned(w: jax.Array, x: jax.Array) -> jax.Array:
    """Four steps as a `scan`."""
    return lax.scan(lambda x, _: (step(w, x), None), x, None, length=4)[0]


def nested(w: jax.Array, x: jax.Array) -> jax.Array:
    """Four steps as two `scan`s of two."""

    def two(x: jax.Array, _: Any) -> tuple[jax.Array, None]:
        return lax.scan(lambda x, _: (step(w, x), None), x, None, length=2)[0], None

    return lax.scan(two, x, None, length=2)[0]


def counted(w: jax.Array, x: jax.Array) -> jax.Array:
    """Four steps as a `while` with a counter."""

    def body(state: Any) -> Any:
        return state[0] + 1, step(w, state[1])

    return lax.while_loop(lambda state: state[0] < 4, body, (0, x))[1]


def iterated(w: jax.Array, x: jax.Array) -> jax.Array:
    """Four steps as a `fori_loop` whose length is not known."""
    return lax.fori_loop(0, jnp.asarray(4), lambda _, x: step(w, x), x)


def branched(w: jax.Array, x: jax.Array) -> jax.Array:
    """Four steps, each in the arm of a `cond` that is taken."""
    for _ in range(4):
        x = lax.cond(x.sum() < 1e9, lambda x: step(w, x), lambda x: jnp.sin(x), x)
    return x


def checkpointed(w: jax.Array, x: jax.Array) -> jax.Array:
    """Four steps that are computed again in the backward pass."""
    for _ in range(4):
        x = jax.checkpoint(step)(w, x)
    return x


def scan_of_checkpoints(w: jax.Array, x: jax.Array) -> jax.Array:
    """Four steps of a `scan` that are computed again in the backward pass."""
    body = jax.checkpoint(lambda x, _: (step(w, x), None))
    return lax.scan(body, x, None, length=4)[0]


def checkpoint_of_checkpoint(w: jax.Array, x: jax.Array) -> jax.Array:
    """Four steps in two nested checkpoints."""
    return jax.checkpoint(jax.checkpoint(unrolled))(w, x)


FOUR_STEPS = {
    "scan": scanned,
    "nested scans": nested,
    "while": counted,
    "fori": iterated,
    "cond": branched,
    "checkpoint": checkpointed,
    "scan of checkpoints": scan_of_checkpoints,
    "nested checkpoints": checkpoint_of_checkpoint,
    "jit": jax.jit(unrolled),
}
