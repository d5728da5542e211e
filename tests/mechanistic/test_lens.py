"""The logit lens, and direct attribution, against a decoder in NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.mechanistic import direct_logit_attribution, logit_lens
from jaxinterp.models.architectures.llama import Llama
from jaxinterp.objectives import total
from tests.compiled import compiled, compiled_once
from tests.networks import circuits
from tests.networks.random_variables import random_variables
from tests.oracles.circuits import MaskedDecoder, norm

TOKENS, TARGET = circuits.texts(4, 3), np.array([2, 5, 6])


@pytest.fixture(scope="module")
def decoder():
    return circuits.decoder()


def test_each_state_is_read_by_the_last_norm_and_the_unembedding(decoder):
    model, variables = decoder
    lens = compiled_once(logit_lens(model.apply, sites="*residual*"))
    read = lens(variables, TOKENS)
    both = compiled(ji.capture(model.apply, "*residual*"))
    outputs, states = both(variables, TOKENS)
    assert list(read) == list(states)
    assert len(read) == 5
    chex.assert_trees_all_close(read["blocks_1/residual"], outputs, rtol=1e-12)
    w = jax.tree.map(np.asarray, variables["params"])
    for address, state in states.items():
        for logits, one in zip(read[address], np.asarray(state), strict=True):
            expected = norm(one, w["norm"]) @ w["token_embedding"]["embedding"].T
            chex.assert_trees_all_close(logits, expected, rtol=1e-9)
    lens(variables, TOKENS[::-1].copy())


def test_the_last_state_may_be_another_and_outputs_pytrees(decoder):
    model, variables = decoder

    def last_alone(v, x):
        return {"logits": model.apply(v, x)[:, -1]}

    at_first = logit_lens(last_alone, sites="residual", last="blocks_1/residual")
    first = compiled(at_first)(variables, TOKENS)["residual"]["logits"]
    w = jax.tree.map(np.asarray, variables["params"])
    embed = w["token_embedding"]["embedding"]
    stream = embed[TOKENS] + w["position_embedding"]["embedding"]
    expected = [norm(one, w["norm"])[-1] @ embed.T for one in stream]
    chex.assert_trees_all_close(first, np.array(expected), rtol=1e-9)


def test_states_of_other_shapes_are_an_error(decoder):
    model, variables = decoder
    lens = logit_lens(model.apply, sites="blocks_*/mlp/*")
    with pytest.raises(ValueError, match="and the last state, at"):
        jax.eval_shape(lens, variables, TOKENS)
    with pytest.raises(ji.tracing.AddressError):
        jax.eval_shape(logit_lens(model.apply, sites="stream"), variables, TOKENS)
    with pytest.raises(TypeError, match="A site is an address, a selector or a list"):
        logit_lens(model.apply, sites=3)
    with pytest.raises(TypeError, match="A site is an address, a selector or a list"):
        logit_lens(model.apply, sites="*", last=3)


def test_direct_contributions_are_those_in_numpy_and_add_up(decoder):
    model, variables = decoder
    attribute = compiled_once(
        direct_logit_attribution(
            model.apply,
            components=circuits.DECODER_SOURCES,
            score=circuits.last_margin,
        )
    )
    result = attribute(variables, TOKENS, TARGET)
    w = jax.tree.map(np.asarray, variables["params"])
    for i, (tokens, target) in enumerate(zip(TOKENS, TARGET, strict=True)):
        direction = np.eye(7)[target] - np.eye(7)[0]
        parts = MaskedDecoder(w, 2, 2).direct(tokens, direction)
        assert float(result.bias[i]) == pytest.approx(parts["bias"], rel=1e-9)
        for address, contributions in result.contributions.items():
            short = address.removeprefix("Transformer/")
            values = np.atleast_1d(contributions[i])
            names = [f"{short}[{h}]" for h in range(2)] if "heads" in short else [short]
            expected = [parts[name] for name in names]
            np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-12)
        logits = MaskedDecoder(w, 2, 2)(tokens)[-1]
        assert float(result.score[i]) == pytest.approx(direction @ logits, rel=1e-9)
    chex.assert_trees_all_close(result.residual, np.zeros(3), atol=1e-12)
    attribute(variables, TOKENS[::-1].copy(), TARGET)


def test_the_scale_of_a_root_mean_square_norm_is_frozen_too():
    model = Llama(vocabulary=7, width=8, depth=1, heads=2, key_heads=1, mlp_width=6)
    variables = random_variables(model, TOKENS, dtype=np.float64)
    components = ["token_embedding", "blocks_*/attention", "blocks_*/mlp"]
    result = compiled(
        direct_logit_attribution(
            model.apply, components=components, score=lambda y, t: y[:, -1, 3]
        )
    )(variables, TOKENS)
    chex.assert_trees_all_close(result.residual, np.zeros(3), atol=1e-12)
    chex.assert_trees_all_close(result.bias, np.zeros(3), atol=1e-12)  # it has none
    assert len(result.contributions) == 3


STREAM = {
    name: np.random.default_rng(i).normal(size=size)
    for i, (name, size) in enumerate(
        {"in": (3, 8), "mlp": (8, 8), "out": (8, 5)}.items()
    )
}
X = np.random.default_rng(3).normal(size=(4, 6, 3))
PARTS = {"embed": 1, "mlp": -2}


def stream(w, x):
    """Logits at every position, of a stream, a layer and a norm."""
    with jax.named_scope("embed"):
        x = x @ w["in"]
    with jax.named_scope("mlp"):
        change = jnp.tanh(x) @ w["mlp"]
    x = x + change
    return x / jnp.sqrt((x**2).mean(axis=-1, keepdims=True)) @ w["out"]


def last(y, target):
    return y[:, -1, 1]


def test_a_score_that_is_not_linear_has_a_residual():
    attribute = direct_logit_attribution(
        stream, components=PARTS, score=lambda y, t: jax.nn.softmax(y[:, -1])[:, 0]
    )
    assert float(jnp.abs(compiled(attribute)(STREAM, X).residual).min()) > 1e-4


def test_half_precision_positions_and_an_empty_batch():
    half = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), (STREAM, X))
    attribute = compiled(direct_logit_attribution(stream, components=PARTS, score=last))
    exact, ours = attribute(STREAM, X), attribute(*half)
    at_last = exact.contributions["embed"]
    assert at_last.shape == (4, 6)
    assert not at_last[:, :-1].any()
    first = ours.contributions["embed"]
    assert first.dtype == jnp.float32
    chex.assert_trees_all_close(first, np.asarray(at_last, np.float32), atol=0.1)
    empty = attribute(STREAM, X[:0])
    assert empty.contributions["mlp"].shape == (0, 6)
    assert empty.residual.shape == (0,)
    chex.assert_trees_all_close(exact.residual, np.zeros(4), atol=1e-12)
    lens = compiled(logit_lens(stream, sites=ji.at("embed") | ji.at("add")))
    assert {y.shape for y in lens(STREAM, X[:0]).values()} == {(0, 6, 5)}
    chex.assert_trees_all_close(lens(STREAM, X)["add"], stream(STREAM, X), rtol=1e-12)


def test_what_is_wrong_is_said(unchecked):
    model = lambda w, x: jnp.sin(x)  # noqa: E731
    with pytest.raises(TypeError, match="`components` maps a site to an axis"):
        direct_logit_attribution(model, components={"sin": "1"})
    with pytest.raises(TypeError, match="`score` must be a function"):
        direct_logit_attribution(model, components="sin", score=1)
    attribute = direct_logit_attribution(model, components={"sin": 5}, score=total)
    with pytest.raises(ValueError, match="cannot be divided along"):
        attribute(None, jnp.ones((2, 3)))
    attribute = direct_logit_attribution(model, components="cos", score=total)
    with pytest.raises(ji.tracing.AddressError):
        attribute(None, jnp.ones((2, 3)))
