"""The sum over the features of a token, of any attribution."""

import jax
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import gradient, lrp, per_token
from tests.compiled import compiled
from tests.networks import functions as models

WEIGHTS, TOKENS, TARGET = models.token_weights(), models.tokens(), models.targets()


def test_it_is_the_sum_over_features_and_keeps_what_adds_up():
    attribute = ji.attribution.input_x_gradient(models.tagger, at="*tanh")
    (address,) = attribute(WEIGHTS, TOKENS, TARGET)
    values = attribute(WEIGHTS, TOKENS, TARGET)[address]
    by_token = compiled(per_token(attribute))(WEIGHTS, TOKENS, TARGET)[address]
    assert by_token.shape == TOKENS.shape
    for b, t in np.ndindex(*TOKENS.shape):
        expected = sum(float(value) for value in values[b, t])
        assert by_token[b, t] == pytest.approx(expected, abs=1e-12)
    logits = models.tagger(WEIGHTS, TOKENS)
    np.testing.assert_allclose(by_token.sum(1), logits[np.arange(3), TARGET])


@pytest.mark.slow(reason="compiles relevance through a transformer")
def test_a_transformer_is_explained_by_one_number_for_each_token():
    apply_fn, variables, draw = ji.models.pretrained("evidence_transformer")
    data = draw(jax.random.key(0), 4)
    attribute = lrp(apply_fn, composite="attn_lrp", at="Transformer/token_embedding")
    args = variables, data.tokens, data.labels
    by_token = per_token(attribute)(*args)
    assert by_token.shape == data.tokens.shape
    np.testing.assert_allclose(by_token, attribute(*args).sum(-1), rtol=1e-5)


def test_without_features_it_is_an_error():
    with pytest.raises(ValueError, match=r"no features to be added.*\n.*`at=`"):
        per_token(gradient(models.mlp))(models.mlp_weights(), models.vectors(), TARGET)
