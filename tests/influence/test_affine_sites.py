"""Kronecker factors see every affine site: inputs times output gradients."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp.influence.affine_sites import (
    affine_sites,
    positions_of_results,
    probed,
    zero_changes,
)
from jaxinterp.influence.training import chosen_paths
from jaxinterp.tracing.call import leaf_path, trace_call
from tests.networks.blocks import Reused

RNG = np.random.default_rng(0)


class Convolutional(nn.Module):
    """Convolutions of many kinds, a norm and a dense layer over two axes."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(4, (3, 2), strides=(2, 1), name="strided")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True, name="norm")(x))
        x = nn.Conv(6, (2, 2), kernel_dilation=2, use_bias=False, name="dilated")(x)
        x = nn.tanh(nn.Conv(6, (3, 3), feature_group_count=2, name="grouped")(x))
        return nn.DenseGeneral((2, 3), axis=(1, 2, 3), name="dense")(x)


def transposed(w: Any, x: Any) -> Any:
    """Weights on the left, as Equinox has them."""
    return jax.vmap(lambda x: w["b"] + w["w"] @ jnp.tanh(x))(x)


def scanned(w: Any, x: Any) -> Any:
    out, _ = lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w["blocks"])
    return out @ w["head"].T


def case(name: str) -> tuple[Any, Any, Any, dict[str, str | None]]:
    """A model, its variables, an input, and the sites with their biases."""
    key = jax.random.key(0)
    if name == "transposed":
        w = {"w": RNG.normal(size=(3, 4)), "b": RNG.normal(size=3)}
        return transposed, w, RNG.normal(size=4), {"w": "b"}
    if name == "scanned":
        w = {"blocks": RNG.normal(size=(2, 4, 4)), "head": RNG.normal(size=(3, 4))}
        return scanned, w, RNG.normal(size=4), {"head": None}
    if name == "reused":
        x = RNG.normal(size=4)
        block = {f"params/block/Dense_{i}/": True for i in range(2)}
        expected: Any = {f"{p}kernel": f"{p}bias" for p in ("params/layer/", *block)}
        return Reused().apply, jax.jit(Reused().init)(key, x[None]), x, expected
    x = RNG.normal(size=(7, 6, 3))
    expected = {
        "params/strided/kernel": "params/strided/bias",
        "params/dilated/kernel": None,
        "params/dense/kernel": "params/dense/bias",
    }
    return (
        Convolutional().apply,
        jax.jit(Convolutional().init)(key, x[None]),
        x,
        expected,
    )


@pytest.mark.parametrize("name", ["transposed", "scanned", "reused", "convolutional"])
def test_inputs_times_output_gradients_are_the_gradient(name: str) -> None:
    apply_fn, variables, x, expected = case(name)
    traced = trace_call(apply_fn, variables, jnp.asarray(x)[None])
    sites = affine_sites(traced.graph, chosen_paths(variables, None))
    assert {site.kernel: site.bias for site in sites} == expected

    def run(changes: Any) -> Any:
        return probed(traced, sites, changes)

    zeros = zero_changes(traced, sites)
    outputs = jax.eval_shape(run, zeros)[0]
    cotangent = jnp.asarray(RNG.normal(size=outputs.shape), outputs.dtype)

    @jax.jit
    def pulled(zeros: Any) -> Any:
        _, pull, inputs = jax.vjp(run, zeros, has_aux=True)
        return pull(cotangent)[0], inputs

    of_results, inputs = pulled(zeros)
    loss = lambda variables: (apply_fn(variables, x[None]) * cotangent).sum()  # noqa: E731
    gradients = {
        leaf_path(path): np.asarray(leaf).ravel()
        for path, leaf in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(variables))
    }
    sums: dict[str, Any] = dict.fromkeys(expected, 0)
    entries: dict[str, Any] = {}
    for site, a, result in zip(sites, inputs, of_results, strict=True):
        s = positions_of_results(traced, site, result)
        sums[site.kernel] += a.T @ s
        of_kernel = gradients[site.kernel][site.kernel_entries]
        if site.bias is not None:
            of_bias = gradients[site.bias][site.bias_entries]
            of_kernel = np.concatenate([of_kernel, of_bias[None]])
        entries[site.kernel] = of_kernel
    for path, gradient in entries.items():
        np.testing.assert_allclose(sums[path], gradient, rtol=1e-4, atol=1e-5)
