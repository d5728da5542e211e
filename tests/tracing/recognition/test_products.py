"""Chains of products are one node; attention, gates and shared values stay apart."""

import jax
import jax.numpy as jnp
import pytest

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.rules.composite import HiddenActivationError
from tests.tracing.arrays import names, normal, roles

W = {name: normal(4, 4, seed=i) for i, name in enumerate("abc")}
X, T = normal(2, 3, 4), jnp.array([0, 3])


def factors(w, x):
    return (x @ w[name] for name in "abc")


def found(model):
    return [r for r in roles(model, W, X) if r not in ("dense", "activation")]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda a, b, c: a * b * c, ["product"]),
        (lambda a, b, c: 2 * (a.mT * b.mT).mT * -c, ["product"]),
        (lambda a, b, c: a @ b.mT @ c, ["matmul"]),
        (lambda a, b, c: (a * b) @ c.mT, ["matmul"]),
        (lambda a, b, c: (a * b).sum(-1, keepdims=True) * c, ["matmul"]),
        (lambda a, b, c: (jax.nn.sigmoid(a) * b) @ c.mT, ["product", "matmul"]),
        (lambda a, b, c: jnp.where(jnp.eye(3)[None] > 0, a @ b.mT, 0) @ c, 2),
        (lambda a, b, c: a * b / (1 + c**2), ["product", "pointwise", "scale"]),
        (lambda a, b, c: (lambda d: d * c + d)(a * b), ["product", "product", "add"]),
    ],
)
def test_a_chain_of_products_is_one_node(model, expected):
    roles_found = found(lambda w, x: model(*factors(w, x)))
    if expected == 2:
        assert roles_found.count("matmul") == 2
    else:
        assert roles_found[: len(expected)] == expected


def test_the_output_of_attention_keeps_its_name():
    def model(w, x):
        a, b, c = factors(w, x)
        return jax.nn.softmax(a @ b.mT) @ c * jnp.tanh(a)

    assert [n for n in names(model, W, X) if n not in W][:3] == [
        "attention_scores",
        "softmax",
        "attention_output",
    ]


def hiding(w, x):
    a, b, _ = factors(w, x)
    return (jax.nn.sigmoid(a) * b * a).sum(1)


def test_an_activation_that_a_product_hides_is_an_error_that_says_what_to_write():
    for composite in (rules.guided_backprop(), rules.deconvnet(), rules.beta_smooth()):
        with pytest.raises(HiddenActivationError, match=r"(?s)'mul'.*silu\(a\) \* b"):
            ji.attribution.lrp(hiding, composite=composite)(W, X, T)
    named = rules.Composite([("mul", rules.Gradient())]) + rules.guided_backprop()
    ji.attribution.lrp(hiding, composite=named)(W, X, T)
    ji.attribution.gradient(hiding)(W, X, T)


def test_functions_of_one_value_are_one_factor():
    def usual(w, x):
        a, b, _ = factors(w, x)
        return (jax.nn.silu(a) * b).sum(1)

    explained = [
        ji.attribution.lrp(model, composite=rules.attn_lrp(1e-14))(W, X, T)
        for model in (usual, hiding)
    ]
    assert jnp.allclose(*explained, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("preset", ["epsilon_plus", "attn_lrp"])
def test_the_ledger_of_a_product_of_three_closes(preset):
    def model(w, x):
        a, b, c = factors(w, x)
        return (a * b.mean(1, keepdims=True) * c).sum(1)

    ledger = ji.ledger(model, getattr(rules, preset)(1e-12), W, X, T)
    assert ledger.error < 1e-8
    assert abs(ledger.attributed) > 0
