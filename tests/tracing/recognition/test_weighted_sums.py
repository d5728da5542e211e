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


PRESETS = (rules.epsilon_plus_flat(), rules.deep_taylor(), rules.guided_backprop())


def assert_same(first, second, w, x):
    """Holds two spellings equal, without looking at stabilizers."""
    for composite in PRESETS:
        a, b = (
            ji.attribution.lrp(f, composite=composite)(w, x, T) for f in (first, second)
        )
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def shifted(w, x, product):
    padded = jnp.pad(x, ((0, 0), (2, 0), (0, 0)))
    return sum(product(padded[:, i : i + 5], w[i]) for i in range(3))


@pytest.mark.parametrize("is_depthwise", [False, True])
def test_a_mean_of_shifted_products_is_that_of_a_convolution(is_depthwise):
    w = normal(3, 1, 6) if is_depthwise else normal(3, 6, 4)
    groups = 6 if is_depthwise else 1

    def by_hand(w, x):
        product = (lambda a, b: a * b[None]) if is_depthwise else jnp.matmul
        return shifted(w, x, product).mean(axis=1)

    def convolved(w, x):
        return jax.lax.conv_general_dilated(
            *(x, w, (1,), ((2, 0),)),
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=groups,
        ).mean(axis=1)

    assert roles(by_hand, w, SEQUENCE)[-1] == "linear"
    assert_same(by_hand, convolved, w, SEQUENCE)


MASK = np.array([1, 0, 1, 1, 0.0])[None, :, None]


@pytest.mark.parametrize("mask", [MASK, MASK > 0], ids=["numbers", "truth values"])
@pytest.mark.parametrize("is_first", [False, True])
def test_entries_that_a_mask_left_out_are_moved_to_a_layer(is_first, mask):
    def model(select):
        def apply_fn(w, x):
            h = x if is_first else jax.nn.relu(x)
            return select(h).swapaxes(1, 2).reshape(2, 30) @ w

        return apply_fn

    factor = model(lambda h: h * mask)
    chosen = model(lambda h: jnp.where(MASK > 0, h, 0))
    assert_same(factor, chosen, normal(30, 4), SEQUENCE)


def test_tiles_are_copies():
    def tiled(w, x):
        return jnp.tile(jax.nn.relu(x), (1, 1, 2)).reshape(2, 60)[:, :55] @ w

    def joined(w, x):
        h = jax.nn.relu(x)
        return jnp.concatenate([h, h], axis=2).reshape(2, 60)[:, :55] @ w

    assert_same(tiled, joined, normal(55, 4), SEQUENCE)


def test_a_mixture_whose_weights_are_one_array_is_a_convolution():
    def model(w, x):
        both = jnp.stack([x, jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]])
        mixture = both * jnp.stack([1 - w, w])[:, None, None]
        return mixture.sum(0)

    assert roles(model, normal(3), normal(2, 6, 3)) == ["convolution"]


TWICE = {
    "shifted": lambda w, x: x * w[0] + jnp.roll(x, 1, 1) * w[1] + x * w[1],
    "in a sum": lambda w, x: (x * w[0]).sum(1, keepdims=True) + x * w[0],
    "in two layers of one kernel": lambda w, x: (
        (x[:, :, None] * w).sum(1) + (x[:, ::-1, None] * w).sum(1)
    ),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_sum_that_reads_an_entry_twice_is_no_layer(name):
    w = normal(1, 4, 4) if name.startswith("in two") else normal(2, 1, 4)
    graph = ji.trace(TWICE[name], w, normal(2, 4))
    assert "unknown" in [node.role for node in graph]
