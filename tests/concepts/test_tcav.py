"""Sensitivity to concepts: definitions, planted concepts, and how often it is wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.concepts import holm, rank_test, tcav
from jaxinterp.tracing.errors import AmbiguousAddressError
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import concepts as oracle

KEY = jax.random.key(0)
RNG = np.random.default_rng(1)
WEIGHTS = models.cnn_weights()


def network(w, x):
    """A hidden layer, of which the first unit is read smoothly and the last not."""
    h = jax.nn.softplus(x @ w)
    return jnp.stack([jnp.sin(h[:, 0]) + 0.2 * h[:, 1] ** 2, h[:, 2]], axis=1)


def test_score_and_magnitude_are_those_of_the_definition():
    x, others = RNG.normal(size=(9, 6, 6, 2)), RNG.normal(size=(11, 6, 6, 2))
    shown = RNG.normal(size=(5, 6, 6, 2)) + np.array([1.0, 0.0])
    site = "relu_1"
    encode, decode = ji.split(models.cnn, site)
    result = tcav(
        *(models.cnn, site, WEIGHTS, x, {"shifted": shown}, others),
        key=KEY,
        target=2,
        nulls=1,
        batch_size=4,
    )
    means = [np.asarray(encode(WEIGHTS, s)).mean((1, 2)) for s in (shown, others)]
    v = oracle.pattern(*means)
    np.testing.assert_allclose(result.directions[0], v, rtol=1e-9)

    # As many copies of the network as examples, each with an activation of its own.
    a = np.asarray(encode(WEIGHTS, x))
    head = jax.jit(lambda a: decode(WEIGHTS, a[None], x[:1])[0, 2])
    s = oracle.sensitivities(head, a, v[None, None])
    slopes = np.stack(
        [oracle.sensitivities(head, a, unit[None, None]) for unit in np.eye(4)], axis=1
    )
    assert result.scores[0] == np.mean(s > 0)
    length = np.linalg.norm(slopes, axis=1).mean()
    np.testing.assert_allclose(result.magnitudes[0], s.mean() / length, rtol=1e-6)
    distance = (means[0].mean(0) - means[1].mean(0)) @ v
    np.testing.assert_allclose(result.effects[0], s.mean() * distance, rtol=1e-6)


def test_a_concept_that_is_read_is_found_and_one_that_is_not_is_not():
    w, noise = np.eye(6), RNG.normal(size=(500, 6))
    shifts = 1.5 * np.eye(6)
    concepts = {
        "read": noise[:60] + shifts[1],
        "less": noise[60:120] - shifts[1],
        "idle": noise[120:180] + shifts[4],
        "none": noise[180:240],
    }
    inputs = noise[240:300] + 1
    call = functools.partial(
        tcav, network, "softplus", w, inputs, concepts, noise[300:], key=KEY
    )
    result = call(target=0)
    assert result.scores[0] == 1
    assert result.scores[1] < 0.05
    assert (result.p_values[:2] < 0.01).all()
    assert (result.p_values[2:] > 0.1).all()
    assert (result.accuracies[:3] > 0.7).all()
    assert result.accuracies[3] < 0.65
    assert np.abs(result.magnitudes[:2]).min() > 3 * np.abs(result.magnitudes[2])
    assert str(result).splitlines()[2].startswith("read      1.00")
    assert "<td>none</td>" in result._repr_html_()
    # What the model reads linearly has the score 0 or 1 in any direction.
    plain = call(target=1, statistic="score", nulls=9)
    assert set(plain.scores.tolist()) <= {0.0, 1.0}
    np.testing.assert_array_equal(plain.p_values, 1)


@pytest.mark.parametrize("statistic", ["effect", "score"])
def test_a_concept_that_is_none_is_found_at_the_nominal_rate(statistic):
    """300 times, 40 examples that are like all others, in a smooth nonlinear model."""
    head = models.normal(50, 16, 8)
    back = models.normal(51, 8)

    def p_value(key):
        keys = jax.random.split(key, 3)
        a = jax.random.normal(keys[0], (160, 16))
        x = jax.random.normal(keys[1], (60, 16))
        slopes = jax.vmap(jax.grad(lambda x: jnp.sin(x @ head / 2) @ back))(x)
        options = {"statistic": statistic, "nulls": 39}
        return rank_test(slopes, a[:40], a[40:], key=keys[2], **options).p_value

    p = np.asarray(compiled(jax.vmap(p_value))(jax.random.split(KEY, 300)))
    assert 0.02 <= np.mean(p <= 0.05) <= 0.08
    assert 0.42 < p.mean() < 0.6


def test_holm_steps_down():
    for count in (1, 5, 12):
        p = RNG.uniform(size=count) ** 3
        np.testing.assert_allclose(holm(p), oracle.holm(p), rtol=1e-12)


def test_a_whole_activation_knows_positions_and_a_mean_does_not():
    x = RNG.normal(size=(8, 6, 6, 2))
    shown, others = x[:4] + 1, RNG.normal(size=(9, 6, 6, 2))
    args = models.cnn, "relu", WEIGHTS, x, {"shifted": shown}, others
    whole = tcav(*args, key=KEY, target=np.arange(8) % 4, pooled=False, nulls=1)
    assert whole.directions.shape == (1, 6, 6, 4)
    assert np.isfinite(whole.effects).all()
    # Any objective is a score, and a hidden unit is moved by what it reads.
    unit = tcav(*args, key=KEY, score="skip:2", nulls=1)
    assert unit.directions.shape == (1, 4)
    assert 0 < np.abs(unit.magnitudes[0]) <= 1


def test_what_cannot_be_tested_is_an_error():
    w, x = np.eye(6), RNG.normal(size=(12, 6))
    call = functools.partial(tcav, network, "softplus", w, x)
    with pytest.raises(TypeError, match="`concepts` maps names to inputs"):
        call([x], x, key=KEY, target=0)
    with pytest.raises(ValueError, match="`concepts` is empty"):
        call({}, x, key=KEY, target=0)
    with pytest.raises(TypeError, match="needs one key"):
        call({"a": x}, x, key=0, target=0)
    with pytest.raises(ValueError, match="two examples of each class"):
        call({"a": x[:1]}, x, key=KEY, target=0)
    with pytest.raises(ValueError, match="`nulls` must be"):
        call({"a": x}, x, key=KEY, target=0, nulls=0)
    with pytest.raises(ji.tracing.AddressError, match="softplus"):
        tcav(network, "softmax", w, x, {"a": x}, x, key=KEY, target=0)
    with pytest.raises(TypeError, match="Call it outside"):
        jax.jit(lambda w: tcav(network, "softplus", w, x, {"a": x}, x, key=KEY).scores)(
            w
        )
    with pytest.raises(ValueError, match="`statistic` is 'mean'"):
        rank_test(x, x, x, key=KEY, statistic="mean")  # pyright: ignore[reportArgumentType]  what is wrong
    with pytest.raises(ValueError, match=r"given \(12, 6\), \(12, 5\), \(12, 6\)"):
        rank_test(x, x[:, :5], x, key=KEY)


@pytest.mark.slow(reason="draws 1,900 images, and runs a network on 1,000 of them")
def test_a_trained_network_reacts_to_what_defines_the_class(optimized):
    apply_fn, variables, draw = ji.models.pretrained("shapes_cnn")
    data = jax.tree.map(np.asarray, draw(KEY, 1500))
    label = {
        **{n: data.texture_label == i for i, n in enumerate(ji.data.TEXTURES)},
        **{n: data.color_label == i for i, n in enumerate(ji.data.COLORS)},
        **{n: data.shape_label == i for i, n in enumerate(ji.data.SHAPES)},
    }
    of_class = data.class_names.index("striped green star")
    test = draw(jax.random.key(5), 600)
    inputs = np.asarray(test.images)[np.asarray(test.labels) == of_class]
    names = ("striped", "dotted", "green", "red", "star", "square")
    concepts = {n: data.images[:1000][label[n][:1000]][:60] for n in names}
    concepts["none"] = data.images[1300:1360]
    result = tcav(
        *(apply_fn, "CNN/stage3_1_relu", variables, inputs, concepts),
        data.images[1000:1300],
        key=jax.random.key(1),
        target=of_class,
    )
    effects = dict(zip(result.concepts, result.effects, strict=True))
    p_values = dict(zip(result.concepts, result.p_values, strict=True))
    for right, wrong in (("striped", "dotted"), ("green", "red"), ("star", "square")):
        assert p_values[right] < 0.05
        assert effects[right] > 5 * effects[wrong]
    assert p_values["none"] > 0.1


def test_targets_and_sets_fit():
    """Indices that are not there would be clamped."""
    noise = jax.random.normal(jax.random.key(0), (40, 3))
    model = lambda w, x: jnp.tanh(x) @ w  # noqa: E731

    def call(site="tanh", inputs=noise[:6], concept=noise[:9], target=0, others=noise):
        return tcav(
            *(model, site, jnp.eye(3)[:, :2], inputs, {"c": concept}, others),
            key=jax.random.key(1),
            target=target,
            nulls=3,
        )

    with pytest.raises(ValueError, match="target 2 is out of range for 2 classes"):
        call(target=2)
    with pytest.raises(ValueError, match=r"needs a target of shape \(6,\)"):
        call(target=jnp.zeros(4, int))
    for empty in ("inputs", "concept", "others"):
        with pytest.raises(ValueError, match="holds no example"):
            call(**{empty: noise[:0]})
    with pytest.raises(AmbiguousAddressError):
        call("*")


def test_p_values_are_shares_of_several_tests():
    for wrong in (0.5, jnp.ones((2, 2)), [-1.0, 0.5], [0.5, 3.0]):
        with pytest.raises(ValueError, match=r"one p value in \[0, 1\] for each test"):
            holm(wrong)
