"""Which sums of products with weights are one layer, and which are sums of layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinterp as ji
from jaxinterp import rules
from tests.tracing.arrays import normal, roles

X, W, V = normal(2, 6), normal(6, 4, seed=1), normal(6, 6, seed=2)
SEQUENCE, T = normal(2, 5, 6), jnp.array([0, 3])


class Halves(nn.Module):
    """Two layers that read one half each, and one layer written in two blocks."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(6)(x[:, :3]) + nn.Dense(6)(x[:, 3:])
        a = self.param("a", nn.initializers.lecun_normal(), (3, 4))
        b = self.param("b", nn.initializers.lecun_normal(), (3, 4))
        return x[:, :3] @ a + x[:, 3:] @ b


def test_layers_of_unlike_modules_stay_apart():
    variables = Halves().init(jax.random.key(0), X)
    nodes = [n for n in ji.trace(Halves().apply, variables, X) if n.kernel is not None]
    assert [n.address for n in nodes] == [
        "Halves/Dense_0",
        "Halves/Dense_1",
        "Halves/dense",
    ]


@pytest.mark.parametrize("is_one", [False, True])
def test_layers_are_those_of_the_parameters(is_one):
    def model(w, x):
        return x[:, :3] @ w["a"]["w"] + x[:, 3:] @ w["b" if not is_one else "a"]["v"]

    parts = {"w": W[:3], "v": W[3:]}
    expected = ["dense"] if is_one else ["dense", "dense", "add"]
    assert roles(model, {"a": parts, "b": parts}, X) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    {
        "residual": (lambda w, x: x + x @ V, ["dense", "add"]),
        "two layers": (
            lambda w, x: x @ w[:, :2] + x @ w[:, 2:],
            ["dense"] * 2 + ["add"],
        ),
        "recurrent": (
            lambda w, x: x @ w + jnp.tanh(x) @ w,
            ["dense", "activation", "dense", "add"],
        ),
        "a part without weights": (
            lambda w, x: jnp.pad(x[:, :1], ((0, 0), (0, 3))) + x[:, 1:] @ w[1:],
            ["dense", "add"],
        ),
        "one layer, twice": (
            lambda w, x: x[:, :3] @ w[:3] + x[:, 3:] @ w[:3],
            ["dense", "dense", "add"],
        ),
    }.values(),
)
def test_a_sum_of_layers_stays_a_sum(model, expected):
    assert roles(model, W, X) == expected


def test_a_mean_of_what_a_layer_gives_is_no_part_of_it():
    assert roles(lambda w, x: (x @ w).mean(1), W, SEQUENCE) == ["dense", "linear"]
    by_step = roles(lambda w, x: sum(x[:, i] @ w for i in range(5)), W, SEQUENCE)
    assert sorted(by_step) == ["add"] * 4 + ["dense"] * 5


def test_scales_around_shifted_products_are_folded():
    kernel, gain = normal(3, 6, 4, seed=3), jnp.exp(normal(1, 1, 4, seed=4))

    def shifted(w, x):
        padded = jnp.pad(jnp.tanh(x) * w["in"], ((0, 0), (1, 1), (0, 0)))
        z = sum(padded[:, i : i + 5] @ w["k"][i] for i in range(3))
        return ((z - w["mean"]) * w["gain"] + 1)[:, 2]

    def plain(w, x):
        padded = jnp.pad(jnp.tanh(x) * w["in"], ((0, 0), (1, 1), (0, 0)))
        z = jax.lax.conv_general_dilated(
            padded, w["k"], (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
        )
        return ((z - w["mean"]) * w["gain"] + 1)[:, 2]

    w = {
        "k": kernel,
        "gain": gain,
        "mean": normal(1, 1, 4, seed=5),
        "in": normal(1, 1, 6, seed=6),
    }
    assert roles(shifted, w, SEQUENCE) == roles(plain, w, SEQUENCE)
    composite = rules.epsilon_plus_flat()
    found, expected = (
        ji.attribution.lrp(f, composite=composite)(w, SEQUENCE, T)
        for f in (shifted, plain)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert ji.ledger(shifted, composite, w, SEQUENCE, T).error < 1e-9
