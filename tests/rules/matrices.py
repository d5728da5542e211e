"""Small affine layers in JAX, each with the dense matrix that it is."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxinterp as ji
from jaxinterp import rules
from tests.oracles import linear_maps

from .replay import add_bias, batch_norm, relevance_through

BATCH = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """An affine layer, as a model and as a matrix.

    Attributes:
        apply_fn: the model; its input is `x` or, in `nonnegative`, what relu leaves.
        variables: its weights.
        x: the input of the affine map; relu has been applied where it is nonnegative.
        matrix: outputs x inputs, of one example.
        support: the matrix with every weight 1.
        bias: of every output of one example.
        relevance: what reaches the output.
    """

    name: str
    apply_fn: Callable[[Any, Any], Any]
    variables: Any
    x: np.ndarray
    matrix: np.ndarray
    support: np.ndarray
    bias: np.ndarray
    relevance: np.ndarray

    def __str__(self) -> str:
        return self.name

    def received(self, rule: rules.Rule) -> Any:
        """Returns the relevance of the input under a rule; a relu before it passes."""
        composite = rules.Composite(
            [(ji.of_role("activation"), rules.Pass()), ("*", rule)]
        )
        return relevance_through(
            self.apply_fn, composite, self.variables, self.x, self.relevance
        )

    def expected(self, oracle: Callable[..., np.ndarray], **options: Any) -> np.ndarray:
        """Returns what an oracle of `tests.oracles.rules` says."""
        is_flat = oracle.__name__ == "flat"
        rows = [
            oracle(
                self.support if is_flat else self.matrix,
                self.bias,
                x.reshape(-1),
                relevance.reshape(-1),
                **options,
            )
            for x, relevance in zip(self.x, self.relevance, strict=True)
        ]
        return np.stack(rows).reshape(self.x.shape)


def signed(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Returns normal numbers, some of them exactly zero."""
    return rng.normal(size=shape) * (rng.uniform(size=shape) > 0.1)


def _dense(name: str, is_nonnegative: bool, keep_bias: bool = True) -> Affine:
    rng = np.random.default_rng(1)
    kernel, bias = signed(rng, 6, 4), rng.normal(size=4) * keep_bias
    x = signed(rng, BATCH, 6)

    def apply_fn(v: Any, x: Any) -> Any:
        x = jax.nn.relu(x) if is_nonnegative else x
        return add_bias(x @ v["kernel"], v["bias"]) if keep_bias else x @ v["kernel"]

    x = np.maximum(x, 0) if is_nonnegative else x
    relevance = rng.normal(size=(BATCH, 4))
    variables = {"kernel": kernel, "bias": bias}
    support = np.ones_like(kernel.T)
    return Affine(name, apply_fn, variables, x, kernel.T, support, bias, relevance)


def _convolution(name: str, is_nonnegative: bool) -> Affine:
    """Strided, dilated, in groups, with batch norm after it."""
    rng = np.random.default_rng(2)
    kernel = signed(rng, 3, 2, 2, 6)
    norm = {
        "bn/scale": rng.normal(size=6),
        "bn/bias": rng.normal(size=6),
        "bn/mean": rng.normal(size=6),
        "bn/var": rng.uniform(0.5, 1.5, size=6),
    }
    x = signed(rng, BATCH, 5, 4, 4)
    geometry = (2, 1), [(1, 1), (0, 1)], (1, 1), (1, 2)

    def apply_fn(v: Any, x: Any) -> Any:
        x = jax.nn.relu(x) if is_nonnegative else x
        numbers = ("NHWC", "HWIO", "NHWC")
        z = lax.conv_general_dilated(x, v["kernel"], *geometry, numbers, 2)
        return batch_norm(v, "bn", z)

    def matrix_of(kernel: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
        return linear_maps.convolution(x.shape[1:], kernel, *geometry, 2)

    x = np.maximum(x, 0) if is_nonnegative else x
    factor = norm["bn/scale"] / np.sqrt(norm["bn/var"] + 1e-5)
    matrix, shape = matrix_of(kernel * factor)
    bias = np.broadcast_to(norm["bn/bias"] - norm["bn/mean"] * factor, shape)
    support, _ = matrix_of(np.ones_like(kernel))
    variables = {"kernel": kernel} | norm
    relevance = rng.normal(size=(BATCH, *shape))
    parts = x, matrix, support, bias.reshape(-1), relevance
    return Affine(name, apply_fn, variables, *parts)


def _scale(name: str) -> Affine:
    """Elementwise: one factor and one shift per feature."""
    rng = np.random.default_rng(3)
    scale, shift = rng.normal(size=5), rng.normal(size=5)
    x = signed(rng, BATCH, 2, 5)

    def apply_fn(v: Any, x: Any) -> Any:
        return add_bias(x * jnp.reshape(v["scale"], (1, 1, -1)), v["shift"])

    matrix, bias = np.diag(np.tile(scale, 2)), np.tile(shift, 2)
    variables = {"scale": scale, "shift": shift}
    relevance = rng.normal(size=x.shape)
    return Affine(name, apply_fn, variables, x, matrix, np.eye(10), bias, relevance)


LAYERS = (
    _dense("dense", False),
    _dense("dense_nonnegative", True),
    _dense("dense_no_bias", False, keep_bias=False),
    _convolution("convolution", False),
    _convolution("convolution_nonnegative", True),
    _scale("scale"),
)
