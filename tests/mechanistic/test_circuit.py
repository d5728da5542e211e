"""`evaluate_circuit` on circuits that are known."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.mechanistic import activation_patching, edges, evaluate_circuit
from jaxinterp.objectives import total
from tests.compiled import compiled, compiled_once
from tests.networks import circuits

INDUCTION = {
    "sources": circuits.INDUCTION_SOURCES,
    "destinations": circuits.INDUCTION_DESTINATIONS,
    "score": circuits.induction_score,
}
TRUE = {
    ("embed", "a0/value[0]"),
    ("embed", "a1/query[0]"),
    ("a0/heads[0]", "a1/key[0]"),
    ("embed", "a1/value[0]"),
    ("a1/heads[0]", "logits"),
}


@pytest.fixture(scope="module")
def names():
    measure = edges(circuits.induction_net, method="gradient", **INDUCTION)
    shapes = jax.eval_shape(
        measure, circuits.induction_weights(), circuits.CLEAN, circuits.CORRUPTED
    )
    return shapes.names


def test_the_wired_circuit_does_all_and_the_rest_nothing(names):
    of_one = evaluate_circuit(circuits.induction_net, **INDUCTION)

    def of_many(*args):
        return jax.vmap(of_one, in_axes=(None, None, None, 0))(*args)

    evaluate = compiled_once(of_many)
    true = np.array([name in TRUE for name in names])
    kept = np.stack([true, ~true, true & (np.arange(29) != np.argmax(true))])
    data = circuits.induction_weights(), circuits.CLEAN, circuits.CORRUPTED
    circuit = evaluate(*data, kept)
    chex.assert_trees_all_close(circuit.clean, np.full((3, 1), 0.9375), atol=1e-12)
    chex.assert_trees_all_close(circuit.corrupted, np.full((3, 1), -0.0625), atol=1e-12)
    assert circuit.size.tolist() == [5, 24, 4]
    faithfulness, completeness = (
        np.asarray(share)[:, 0]
        for share in (circuit.faithfulness, circuit.completeness)
    )
    np.testing.assert_allclose(faithfulness, [1, 0, 0.25], atol=1e-9)
    np.testing.assert_allclose(completeness[:2], [0, 1], atol=1e-9)
    evaluate(*data, ~kept)


def test_all_edges_of_a_source_are_its_activation():
    w = circuits.linear_weights()
    x = np.random.default_rng(1).normal(size=(2, 3, 16))
    options = {
        "sources": ["embed", "head_*", "mlp_*"],
        "destinations": ["read_*", "mlp_*", "logits"],
        "score": lambda y, target: y[:, 1] ** 2,
    }
    measured = jax.eval_shape(edges(circuits.linear_net, **options), w, *x)
    evaluate = compiled(evaluate_circuit(circuits.linear_net, **options))
    patch = compiled(
        activation_patching(
            circuits.linear_net,
            sites=["embed", "head_0_1", "mlp_0"],
            score=options["score"],
        )
    )
    patched = patch(w, *x)
    for source, effect in patched.effects.items():
        kept = np.array([name[0] != source for name in measured.names])
        circuit = evaluate(w, *x, kept)
        chex.assert_trees_all_close(circuit.kept - circuit.clean, effect, rtol=1e-9)
    # The embedding alone carries all that comes from the inputs.
    chex.assert_trees_all_close(
        patched.effects["embed"] + patched.clean, patched.corrupted, rtol=1e-9
    )


def test_of_no_difference_there_is_no_share():
    evaluate = evaluate_circuit(
        lambda w, x: circuits.gate("or", x)[:, None],
        sources=["left", "right"],
        destinations="out",
        score=total,
    )
    x = np.ones((1, 2))
    circuit = evaluate(None, x, x, np.array([True, False]))
    assert np.isnan(circuit.faithfulness).all()
    assert np.isnan(circuit.completeness).all()
    x = np.full((1, 2), np.pi / 2)
    one = evaluate(None, x, 0 * x, np.array([True, False]))
    chex.assert_trees_all_close(one.faithfulness, np.ones(1))  # either side will do
    chex.assert_trees_all_close(one.completeness, np.ones(1))
    for kept, error, message in (
        (np.ones(2), TypeError, "is float64"),
        (np.ones(3, bool), ValueError, "and there are 2 edges"),
        (jnp.ones((1, 2), bool), ValueError, r"the shape \(1, 2\)"),
    ):
        with pytest.raises(error, match=message):
            evaluate(None, x, x, kept)
