"""What is left of an explanation when layers are random, where that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxinterp.attribution import gradient, saliency
from jaxinterp.metrics import parameter_randomization
from jaxinterp.metrics.contract import own_key
from jaxinterp.metrics.parameter_randomization import module_of
from tests.compiled import compiled
from tests.few import few
from tests.networks import functions as models
from tests.oracles import metrics as oracle

KEY = jax.random.key(0)
TRAINED, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()


def init(key):
    """Untrained weights of `models.mlp`."""
    keys = iter(jax.random.split(key, 6))
    return jax.tree.map(lambda w: jax.random.normal(next(keys), w.shape), TRAINED)


def measured(model, attribution_fn, weights=None, x=X, init=init, **options):
    weights = TRAINED if weights is None else weights
    measure = parameter_randomization(
        model, attribution_fn=attribution_fn, init=init, **options
    )

    def both(weights, x):
        attributions = attribution_fn(weights, x, TARGET, KEY)
        return measure(weights, x, attributions, TARGET, KEY)

    return compiled(both)(weights, x)


def replaced(order, number):
    """The weights at one step, by hand."""
    drawn = init(own_key(KEY))
    layers = {
        "top_down": [2, 1, 0][: number + 1],
        "bottom_up": [0, 1, 2][: number + 1],
        "independent": [[2, 1, 0][number]],
    }[order]
    return [drawn[i] if i in layers else TRAINED[i] for i in range(3)]


@pytest.mark.parametrize(
    "order", few(["bottom_up", "top_down", "independent"], 1, reason="other orders")
)
def test_each_step_compares_with_the_network_that_has_other_weights(order):
    attribute = gradient(models.mlp)
    result = measured(models.mlp, attribute, order=order)
    names = ("0", "1", "2")
    assert result.layers == (names if order == "bottom_up" else names[::-1])
    explain, run = compiled(attribute), compiled(models.mlp)
    original, outputs = explain(TRAINED, X, TARGET), run(TRAINED, X)
    for number in range(3):
        weights = replaced(order, number)
        values, others = explain(weights, X, TARGET), run(weights, X)
        for i in range(3):
            np.testing.assert_allclose(
                result.attributions[i, number],
                oracle.spearman(np.asarray(original[i]), np.asarray(values[i])),
                rtol=1e-9,
            )
            np.testing.assert_allclose(
                result.outputs[i, number],
                oracle.spearman(np.asarray(outputs[i]), np.asarray(others[i])),
                rtol=1e-9,
            )


def test_what_ignores_the_network_stays_the_same_at_every_layer():
    def the_input(variables, inputs, target=None, key=None):
        return inputs

    result = measured(models.mlp, the_input)
    np.testing.assert_allclose(result.attributions, 1, rtol=1e-12)
    assert result.outputs.min() < 0.9


def test_the_similarity_is_the_users():
    def norms(a, b):
        return jnp.abs(a - b).max(axis=1)

    result = measured(models.mlp, saliency(models.mlp), similarity=norms)
    attribute = compiled(saliency(models.mlp))
    difference = attribute(replaced("top_down", 1), X, TARGET) - attribute(
        TRAINED, X, TARGET
    )
    np.testing.assert_allclose(
        result.attributions[:, 1], np.abs(difference).max(axis=1), rtol=1e-9
    )


class Net(nn.Module):
    """A convolution under a batch norm, whose names do not have the order of use."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(3, (2, 2), name="stem")(x)
        x = nn.BatchNorm(use_running_average=True, name="normed")(x)
        x = nn.tanh(nn.Dense(4, name="hidden")(x.mean((1, 2))))
        self.param("unused", nn.initializers.zeros, (2,))
        return nn.Dense(4, name="answer")(x)


@pytest.mark.slow(reason="draws the weights of a whole network again")
def test_layers_of_a_network_have_its_order_and_its_statistics():
    x = models.images()
    net = Net()

    def fresh(key):
        return net.init(key, x)

    trained = jax.tree.map(lambda leaf: leaf + 0.3, jax.jit(fresh)(jax.random.key(5)))
    attribute = gradient(net.apply)
    result = measured(net.apply, attribute, trained, x, fresh)
    assert result.layers == ("answer", "hidden", "normed", "stem")
    options = {"layer_of": lambda path: "all"}
    whole = measured(net.apply, attribute, trained, x, fresh, **options)
    assert whole.layers == ("all",)
    np.testing.assert_allclose(
        whole.attributions[:, 0], result.attributions[:, -1], rtol=1e-6
    )
    drawn = fresh(own_key(KEY))
    explain = compiled(attribute)
    expected = [
        oracle.spearman(np.ravel(a), np.ravel(b))
        for a, b in zip(
            explain(trained, x, TARGET), explain(drawn, x, TARGET), strict=True
        )
    ]
    np.testing.assert_allclose(whole.attributions[:, 0], expected, rtol=1e-5)


def test_a_leaf_belongs_to_its_module():
    assert module_of("params/stem/kernel") == "stem"
    assert module_of("batch_stats/a/normed/mean") == "a/normed"
    assert module_of("layers/0/weight") == "layers/0"
    assert module_of("w") == ""


def test_what_cannot_be_randomized_is_an_error():
    attribute = gradient(models.mlp)
    attributions = attribute(TRAINED, X, TARGET)

    def measure(init=init, model=models.mlp, method=attribute, key=KEY, **options):
        made = parameter_randomization(
            model, attribution_fn=method, init=init, **options
        )
        return made(TRAINED, X, attributions, TARGET, key)

    with pytest.raises(ValueError, match="`order` is 'down'"):
        measure(order="down")
    with pytest.raises(TypeError, match=r"parameter_randomization\(\) is random"):
        measure(key=None)
    with pytest.raises(ValueError, match="`variables` has the structure"):
        measure(init=lambda key: init(key)[:2])
    with pytest.raises(ValueError, match=r"`variables\[0\]\['b'\]` has shape \(1, 8\)"):
        measure(init=lambda key: jax.tree.map(lambda w: w[..., :2], init(key)))
    with pytest.raises(ValueError, match="what `attribution_fn` returns"):
        measure(method=lambda v, x, t, k: attribute(v, x, t)[:, :2])
    with pytest.raises(ValueError, match="the model reads none of its variables"):
        measure(model=lambda v, x: jnp.tanh(x))


def test_targets_and_functions_are_checked():
    attribute = gradient(models.mlp)
    attributions = attribute(TRAINED, X, TARGET)
    measure = parameter_randomization(models.mlp, attribution_fn=attribute, init=init)
    with pytest.raises(ValueError, match="target 9 is out of range for 4 classes"):
        measure(TRAINED, X, attributions, np.array([0, 9, 1]), KEY)
    with pytest.raises(ValueError, match="`similarity` returns one number per exam"):
        parameter_randomization(
            *(models.mlp,),
            attribution_fn=attribute,
            init=init,
            similarity=lambda a, b: jnp.abs(a - b).mean(),
        )(TRAINED, X, attributions, TARGET, KEY)
    for name in ("attribution_fn", "init"):
        options = {"attribution_fn": attribute, "init": init} | {name: 3}
        with pytest.raises(TypeError, match=f"`{name}` must be a function"):
            parameter_randomization(models.mlp, **options)
