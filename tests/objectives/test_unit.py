"""Neurons, channels, layers and outputs, against NumPy indexing."""

import collections
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.objectives.evaluate import count_units, evaluate, unit_keys
from jaxinterp.objectives.objective import View
from jaxinterp.objectives.output import output
from jaxinterp.objectives.score import log_probability, probability
from jaxinterp.objectives.unit import channel, layer, neuron
from tests.objectives.views import alone, bind, scores
from tests.oracles import feature_objectives as oracle

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(3, 4, 7, 5))  # images, height, width, channels
TOKENS = RNG.normal(size=(3, 6, 5))
HEADS = RNG.normal(size=(3, 6, 4, 5))  # images, tokens, heads, channels
VOLUMES = RNG.normal(size=(2, 3, 4, 5, 6))
VECTORS = RNG.normal(size=(3, 5))
ALL = {"maps": MAPS, "tokens": TOKENS, "volumes": VOLUMES, "vectors": VECTORS}
LOGITS = RNG.normal(size=(3, 4))


@pytest.mark.parametrize("name", ALL)
def test_a_channel_is_a_mean_over_places(name):
    a = ALL[name]
    found = scores(channel("a", [2, 0, -1]), {"a": a})
    expected = [[oracle.channel(one, c) for one in a] for c in (2, 0, -1)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "center"),
    [(MAPS, (2, 3)), (TOKENS, (3,)), (VOLUMES, (1, 2, 2)), (VECTORS, ())],
)
def test_a_neuron_is_at_the_center(a, center):
    found = scores(neuron("a", 4), {"a": a})
    np.testing.assert_array_equal(found, a[(slice(None), *center, 4)][None])


def test_rows_and_columns_are_not_mixed_up():
    found = scores(neuron("a", 1, position=(0, 6)), {"a": MAPS})
    np.testing.assert_array_equal(found[0], MAPS[:, 0, 6, 1])
    found = scores(neuron("a", 1, position=(-1, 0)), {"a": MAPS})
    np.testing.assert_array_equal(found[0], MAPS[:, 3, 0, 1])


def test_units_may_differ_in_their_places():
    objective = neuron("a", [1, 2], position=([0, 3], 5))
    found = scores(objective, {"a": MAPS})
    np.testing.assert_array_equal(found, [MAPS[:, 0, 5, 1], MAPS[:, 3, 5, 2]])


def test_none_is_all_of_an_axis():
    found = scores(channel("a", 2, position=(None, 3)), {"a": HEADS})
    np.testing.assert_allclose(found[0], HEADS[:, :, 3, 2].mean(1), rtol=1e-12)
    found = scores(layer("a", position=(2, None)), {"a": HEADS})
    np.testing.assert_allclose(
        found[0], (HEADS[:, 2] ** 2).mean(axis=(1, 2)), rtol=1e-12
    )
    found = scores(channel("a", 2, position=(None, None)), {"a": HEADS})
    np.testing.assert_allclose(found, scores(channel("a", 2), {"a": HEADS}))


@pytest.mark.parametrize("name", ALL)
def test_a_layer_is_a_mean_square(name):
    a = ALL[name]
    found = scores(layer("a"), {"a": a})
    expected = [(one**2).mean() for one in a]
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)


@pytest.mark.parametrize("power", [1, 3])
@pytest.mark.parametrize("name", ALL)
def test_a_layer_is_a_mean_of_another_power(name, power):
    a = ALL[name]
    found = scores(layer("a", power=power), {"a": a})
    expected = [(one**power).mean() for one in a]
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
    with pytest.raises(ValueError, match="`power` must be an integer of at least 1"):
        layer("a", power=0)


def test_without_an_index_every_channel_is_a_unit():
    bound = bind(channel("a"), {"a": MAPS})
    assert count_units(bound) == 5
    found = scores(channel("a"), {"a": MAPS})
    np.testing.assert_allclose(found, MAPS.mean((1, 2)).T, rtol=1e-12)


@pytest.mark.parametrize(
    "objective",
    [
        channel("a"),
        neuron("a"),
        neuron("a", [0, 1, 2], position=([0, 1, 2], [6, 0, 3])),
        channel("a", [0, 1]) * 2.0 - layer("a"),
    ],
)
def test_units_together_are_units_alone(objective):
    activations = {"a": MAPS}
    np.testing.assert_array_equal(
        scores(objective, activations), alone(objective, activations)
    )


def test_the_algebra_is_that_of_numbers():
    # Weights of earlier terms must not be multiplied by those of later ones.
    a, b = MAPS.mean((1, 2))[:, 1], (MAPS**2).mean((1, 2, 3))
    one, two = channel("a", 1), layer("a")
    expected = {
        one * 1 + two * 3 + one * -5: a + 3 * b - 5 * a,
        2 - one / two: 2 - a / b,
        -(two**2) * one: -(b**2) * a,
        1 / two - 2 * (one - 1): 1 / b - 2 * (a - 1),
        one * two + (one + two) * 0.5: a * b + (a + b) * 0.5,
        2**one - two**2: 2**a - b**2,
        abs(one) * one.clip(-0.125, 0.125): np.abs(a) * np.clip(a, -0.125, 0.125),
        two.clip(one, 3.0): np.clip(b, a, 3.0),
        one.clip(0.0, math.inf): np.maximum(a, 0),
    }
    for objective, value in expected.items():
        found = scores(objective, {"a": MAPS})
        np.testing.assert_allclose(found[0], value, rtol=1e-12)
    np.testing.assert_allclose(scores(one, {"a": MAPS})[0], a)  # itself unchanged


@pytest.mark.parametrize("number", [math.nan, np.array([1.0, math.nan])])
def test_objectives_do_not_combine_with_nan(number):
    one, message = channel("a", 1), r"which is not a number.*clip\(0\.0, math\.inf\)"
    for combine in (
        lambda: one.clip(number, 1.0),
        lambda: one.clip(0.0, number),
        lambda: number * one,
        lambda: jax.jit(lambda x: (number * one, x)[1])(1.0),
    ):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            combine()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (neuron("a", -1, position=(-1, 0)), neuron("a", 4, position=(3, 0))),
        (channel("a", 2, position=(None, -7)), channel("a", 2, position=(None, 0))),
        (layer("a", position=(-2, None)), layer("a", position=(2, None))),
    ],
)
def test_a_place_has_one_key_however_it_is_counted(first, second):
    bound = [bind(objective, {"a": MAPS}) for objective in (first, second)]
    keys = [jax.random.key_data(unit_keys(KEY, objective)) for objective in bound]
    np.testing.assert_array_equal(*keys)
    np.testing.assert_array_equal(*(scores(o, {"a": MAPS}) for o in (first, second)))


def test_a_weight_may_differ_between_units():
    objective = channel("a", [1, 2]) * np.array([1.0, -1.0])
    means = MAPS.mean((1, 2))
    np.testing.assert_allclose(
        scores(objective, {"a": MAPS}), [means[:, 1], -means[:, 2]]
    )


def test_a_picture_does_not_depend_on_the_others():
    objective = channel("a", [1, 2]) + layer("a") + neuron("a", 0)
    together = scores(objective, {"a": MAPS})
    for i in range(3):
        one = scores(objective, {"a": MAPS[i : i + 1]})
        np.testing.assert_allclose(together[:, i : i + 1], one, rtol=1e-14)


def test_one_program_serves_all_units():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(index, row):
        objective = bind(neuron("a", index, position=(row, 5)), {"a": MAPS})
        view = View({"a": jnp.asarray(MAPS)[None]}, None, jnp.zeros((1, 3, 1)), 0)
        return evaluate(objective, view, 1)

    np.testing.assert_array_equal(run(1, 0)[0], MAPS[:, 0, 5, 1])
    np.testing.assert_array_equal(run(4, 2)[0], MAPS[:, 2, 5, 4])
    assert np.isnan(run(9, 0)).all()  # what cannot be looked at gives NaN


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("make", [channel, neuron])
def test_half_precision_is_scored_in_float32(make, dtype):
    a = jnp.asarray(MAPS, dtype)
    found = scores(make("a", 1), {"a": a})
    assert found.dtype == np.float32
    expected = scores(make("a", 1), {"a": np.asarray(a, np.float64)})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert scores(layer("a"), {"a": a}).dtype == np.float32


def test_float32_stays_float32():
    for objective in (channel("a", 1), neuron("a", 1), layer("a"), 2.0 * layer("a")):
        assert scores(objective, {"a": np.float32(MAPS)}).dtype == np.float32


def test_logits_and_probabilities():
    found = scores(output([3, -4]), outputs=LOGITS)
    np.testing.assert_array_equal(found, LOGITS[:, [3, 0]].T)
    exp = np.exp(LOGITS)
    p = exp / exp.sum(1, keepdims=True)
    np.testing.assert_allclose(
        scores(output(2, score=probability), outputs=LOGITS)[0], p[:, 2]
    )
    np.testing.assert_allclose(
        scores(output(score=log_probability), outputs=LOGITS), np.log(p).T, rtol=1e-12
    )


def test_outputs_may_be_a_pytree():
    outputs = {"logits": LOGITS, "aux": (VECTORS, TOKENS)}
    found = scores(output(3, head="logits"), outputs=outputs)
    np.testing.assert_array_equal(found[0], LOGITS[:, 3])
    found = scores(output(3, head=("aux", 0)), outputs=outputs)
    np.testing.assert_array_equal(found[0], VECTORS[:, 3])
    found = scores(output(3, head=("aux", 1), position=(-1,)), outputs=outputs)
    np.testing.assert_array_equal(found[0], TOKENS[:, -1, 3])
    found = scores(output(3, head=("aux", 1)), outputs=outputs)
    np.testing.assert_allclose(found[0], TOKENS[:, :, 3].mean(1))


def test_outputs_may_have_fields():
    outputs = collections.namedtuple("Outputs", "hidden logits")(VECTORS, LOGITS)
    found = scores(output(3, head="logits"), outputs=outputs)
    np.testing.assert_array_equal(found[0], LOGITS[:, 3])


def test_a_probability_of_several_places_is_the_mean_of_theirs():
    exp = np.exp(TOKENS)
    p = exp / exp.sum(2, keepdims=True)
    found = scores(output(1, score=probability), outputs=TOKENS)
    np.testing.assert_allclose(found[0], p[:, :, 1].mean(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: channel("b", "a"), r"index is an integer.*was 'a'.*channel\('Conv_0'"),
        (lambda: channel("a", 1.5), r"index is an integer.*float\d\d\[\]"),
        (lambda: channel("a", [[1]]), r"index is an integer.*int\d\d\[1, 1\]"),
        (lambda: channel("a", [True, False]), r"index is an integer.*bool\[2\]"),
        (lambda: neuron("a", 1, position="3"), "A position is a tuple.*was '3'"),
        (lambda: neuron("a", 1, position=(0.5, 1)), "Each entry of a position is"),
        (lambda: layer("a", position=("x",)), "Each entry of a position is.*'x'"),
        (lambda: 1j * channel("a", 1), r"numbers.*complex\d+\[\] was given"),
        (lambda: output("a"), r"index is an integer.*was 'a'.*output\(3\)"),
    ],
)
def test_indices_are_integers(make, message, unchecked):
    with pytest.raises(TypeError, match=f"(?s){message}"):
        make()


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (channel("a", [0, 5]), "no channel of 'a' 5: there are 5, 0..4"),
        (channel("a", -6), "no channel of 'a' -6"),
        (neuron("a", 0, position=(4, 0)), "no place on axis 0 of 'a' 4: there are 4"),
        (layer("a", position=(0, 7)), "no place on axis 1 of 'a' 7: there are 7"),
        (neuron("a", 0, position=(1,)), r"has 1 entries.*'a' has 2.*\(None, None\)"),
    ],
)
def test_what_does_not_exist_is_an_error(objective, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        bind(objective, {"a": MAPS})


def test_a_single_number_has_no_channels():
    with pytest.raises(ValueError, match=r"(?s)'a' is one number.*custom\("):
        bind(channel("a", 0), {"a": np.ones(3)})


@pytest.mark.parametrize(
    ("objective", "outputs", "message"),
    [
        (output(4), LOGITS, "no channel of the output 4: there are 4"),
        (output(4), {"b": LOGITS}, "not one array.*head='logits'"),
        (output(1, head="c"), {"b": LOGITS}, r"no 'c'.*dict with the keys \['b'\]"),
        (output(1, head=2), (LOGITS, LOGITS), "no 2 .*tuple of length 2"),
        (output(9, head="b"), {"b": LOGITS}, "no channel of output b 9"),
    ],
)
def test_outputs_that_do_not_exist(objective, outputs, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        bind(objective, outputs=outputs)


@pytest.mark.parametrize("other", ["b:3", None])
def test_what_is_no_objective_is_not_combined(other):
    with pytest.raises(TypeError, match=r"`as_objective\('Conv_0:3'\)`"):
        channel("a", 1) + other
