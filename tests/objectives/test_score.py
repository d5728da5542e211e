"""Scores, their gradients, and the relevance that propagation starts with."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import attribution, metrics, objectives, rules
from jaxinterp.objectives import (
    contrastive,
    log_probability,
    logit,
    margin,
    probability,
    total,
)
from jaxinterp.objectives.score import SCORES
from jaxinterp.objectives.seed import (
    gradient_seed,
    positive_relevance_seed,
    relevance_seed,
)
from tests.compiled import compiled
from tests.networks import functions as models
from tests.proposals import proposals

LOGITS = models.normal(0, 3, models.CLASSES) * 2
TARGET = models.targets()
LAYERS, X = models.mlp_weights(), models.vectors()

CLASS_SCORES = (logit, probability, log_probability, margin, contrastive)


def softmax(row):
    return np.exp(row) / np.exp(row).sum()


BY_HAND = {
    logit: lambda row, t: row[t],
    probability: lambda row, t: softmax(row)[t],
    log_probability: lambda row, t: np.log(softmax(row)[t]),
    margin: lambda row, t: row[t] - max(v for i, v in enumerate(row) if i != t),
    contrastive: lambda row, t: row[t] - np.delete(row, t).mean(),
    total: lambda row, t: row.sum(),
}


@pytest.mark.parametrize("score", BY_HAND)
def test_scores_by_hand(score):
    expected = [BY_HAND[score](row, t) for row, t in zip(LOGITS, TARGET, strict=True)]
    np.testing.assert_allclose(score(jnp.asarray(LOGITS), TARGET), expected, rtol=1e-12)


@pytest.mark.parametrize("score", BY_HAND)
def test_relevance_adds_up_to_the_score(score):
    outputs = jnp.asarray(LOGITS)
    seed = relevance_seed(score, outputs, TARGET)
    assert seed.shape == outputs.shape
    np.testing.assert_allclose(seed.sum(axis=1), score(outputs, TARGET), rtol=1e-12)


@pytest.mark.parametrize("score", BY_HAND)
def test_every_score_drives_gradients_and_relevance(score):
    slope = jax.grad(lambda x: score(models.mlp(LAYERS, x), TARGET).sum())(X)
    actual = attribution.gradient(models.mlp, score=score)(LAYERS, X, TARGET)
    np.testing.assert_allclose(actual, slope, rtol=1e-10, atol=1e-13)
    relevance = attribution.lrp(models.mlp, score=score)(LAYERS, X, TARGET)
    assert np.isfinite(relevance).all()


def test_linear_scores_seed_output_times_slope():
    outputs = jnp.asarray(LOGITS)
    seed = relevance_seed(contrastive, outputs, TARGET)
    expected = np.full_like(LOGITS, -1 / (models.CLASSES - 1))
    expected[np.arange(3), TARGET] = 1.0
    np.testing.assert_allclose(seed, expected * LOGITS, rtol=1e-12)


def test_relevance_is_linear_in_the_seed():
    """Contrastive relevance is that of the target minus the mean of the others."""
    each = [
        attribution.lrp(models.mlp)(LAYERS, X, np.full(3, c))
        for c in range(models.CLASSES)
    ]
    whole = attribution.lrp(models.mlp, score=contrastive)(LAYERS, X, TARGET)
    for b, t in enumerate(TARGET):
        others = [r[b] for c, r in enumerate(each) if c != t]
        expected = each[t][b] - np.mean(others, axis=0)
        np.testing.assert_allclose(whole[b], expected, rtol=1e-9, atol=1e-12)


def test_a_user_writes_a_score():
    def at_place(outputs, target):
        return outputs["logits"][:, -1] * target["weight"]

    def model(v, x):
        return {"logits": models.mlp(v, x), "hidden": x, "count": jnp.arange(3)}

    target = {"weight": np.array([1.0, -2.0, 0.5])}
    received = attribution.gradient(model, score=at_place)(LAYERS, X, target)
    last = attribution.gradient(models.mlp)(LAYERS, X, np.full(3, models.CLASSES - 1))
    np.testing.assert_allclose(received, last * target["weight"][:, None], rtol=1e-12)
    relevance = attribution.lrp(model, score=at_place)(LAYERS, X, target)
    one = attribution.lrp(models.mlp)(LAYERS, X, np.full(3, models.CLASSES - 1))
    np.testing.assert_allclose(relevance, one * target["weight"][:, None], rtol=1e-9)


def test_total_needs_no_target_and_takes_pytrees():
    outputs = {"a": jnp.ones((2, 3)), "b": jnp.full((2, 1, 2), 2.0)}
    assert total(outputs, None).tolist() == [7.0, 7.0]


@pytest.mark.parametrize("score", [logit, probability, log_probability, margin])
def test_what_is_wrong_with_a_target(score):
    attribute = attribution.gradient(models.mlp, score=score)
    name = score.__name__
    for target, error, message in (
        (
            None,
            ValueError,
            rf"score={name} needs a target: class indices of shape \(3,",
        ),
        (np.zeros(3), TypeError, f"score={name} takes integer class indices.*float64"),
        (np.zeros(2, int), ValueError, r"of shape \(3,\).*was given shape \(2,\)"),
        (np.zeros((3, 1), int), ValueError, r"was given shape \(3, 1\)"),
        (1.0, TypeError, f"score={name} takes integer class indices.*float"),
        (4, ValueError, r"target 4 is out of range for 4 classes"),
        (np.array([0, 4, 1]), ValueError, r"target 4 is out of range for 4 classes"),
        (np.array([0, -1, 1]), ValueError, r"target -1 is out of range .*\(0 to 3\)"),
    ):
        with pytest.raises(error, match="(?s)" + message):
            attribute(LAYERS, X, target)


@pytest.mark.parametrize(
    ("method", "score", "options"),
    [
        *((attribution.gradient, score, {}) for score in CLASS_SCORES),
        *((attribution.lrp, score, {}) for score in (logit, probability)),
        (attribution.integrated_gradients, logit, {"steps": 2}),
    ],
)
def test_one_class_stands_for_all_examples(method, score, options):
    attribute = method(models.mlp, score=score, **options)
    expected = attribute(LAYERS, X, np.full(3, 2))
    for target in (2, np.int64(2), jnp.asarray(2)):
        np.testing.assert_array_equal(attribute(LAYERS, X, target), expected)
    mapped = jax.vmap(attribute, in_axes=(None, None, 0))(LAYERS, X, jnp.arange(4))
    np.testing.assert_allclose(mapped[2], expected, rtol=1e-10, atol=1e-14)


def test_a_class_as_a_number_is_no_new_program():
    traces = 0

    def counted(layers, x):
        nonlocal traces
        traces += 1
        return models.mlp(layers, x)

    smooth = attribution.smooth(attribution.gradient(counted), samples=2)
    key = jax.random.key(0)
    smooth(LAYERS, X, 0, key)
    before, traces = traces, 0
    smooth(LAYERS, X, 1, key)
    assert traces == 1 < before  # the check of the target alone


def test_a_single_output_needs_no_target(unchecked):
    def model(v, x):
        return models.mlp(v, x)[:, :1]

    attribute = attribution.gradient(model)
    for target in (None, 1):
        with pytest.raises(ValueError, match=r"single output: write `score='total'`"):
            attribute(LAYERS, X, target)
    with pytest.raises(TypeError, match=r"float64\[3\].\nThe model has a single out"):
        attribute(LAYERS, X, np.ones(3))
    summed = attribution.gradient(model, score="total")
    np.testing.assert_array_equal(summed(LAYERS, X), attribute(LAYERS, X, 0))
    with pytest.raises(ValueError, match=r"(?s)returns \(3,\).*`score='total'`"):
        attribution.gradient(lambda v, x: model(v, x)[:, 0])(LAYERS, X, 0)


@pytest.mark.parametrize("target", [4, -1, 100])
def test_under_jit_a_target_out_of_range_gives_nan(target):
    """It cannot be an error, and must not look like an explanation."""
    classes = np.array([0, target, 1])

    @compiled
    def explain(classes):
        methods = (attribution.gradient, attribution.lrp)
        scores = (logit, margin, probability, log_probability, contrastive)
        return [
            m(models.mlp, score=s)(LAYERS, X, classes) for m in methods for s in scores
        ]

    for received in map(np.asarray, explain(classes)):
        assert np.isnan(received[1]).all()
        assert np.isfinite(received[[0, 2]]).all()


@pytest.mark.parametrize(
    ("places", "place"), [((5,), (-1,)), ((2, 6), (1, 3)), ((2, 2, 2), (1, 1, 1))]
)
def test_outputs_with_places_are_told_how_to_choose_one(places, place, unchecked):
    scales = models.normal(7, 1, *places, 1)

    def model(v, x):
        return jnp.expand_dims(models.mlp(v, x), range(1, 1 + len(places))) * scales

    with pytest.raises(ValueError, match=r"score=logit needs outputs") as error:
        attribution.gradient(model)(LAYERS, X, TARGET)
    of_class, of_target = proposals(error)
    for score, target in ((of_class, np.zeros(3, int)), (of_target, TARGET)):
        received = attribution.gradient(model, score=score)(LAYERS, X, target)
        expected = (
            attribution.gradient(models.mlp)(LAYERS, X, target) * scales[0][place][0]
        )
        np.testing.assert_allclose(received, expected, rtol=1e-12)


def test_of_several_outputs_the_logits_are_proposed(unchecked):
    outputs = {"features": LOGITS, "logits": jnp.ones((3, 2, 4)), "loss": jnp.ones(())}
    with pytest.raises(ValueError, match=r"apply_fn\(variables, inputs\)\['logits'\]`"):
        logit(outputs, TARGET)
    with pytest.raises(ValueError, match=r"apply_fn\(variables, inputs\)\[1\]`"):
        logit((jnp.ones(3), LOGITS), TARGET)
    with pytest.raises(ValueError, match="Return an array with one row per example"):
        logit({"loss": jnp.ones(())}, TARGET)
    with pytest.raises(ValueError, match="not one for the whole batch"):
        logit(jnp.ones(()), TARGET)


@pytest.mark.parametrize(
    "score",
    [
        lambda y, t: y,
        lambda y, t: y[:, :1],
        lambda y, t: jnp.stack([y, y], 1),
        lambda y, t: y.sum(),
        lambda y, t: y[0],
    ],
)
def test_a_score_of_another_shape_is_told_what_to_add(score):
    with pytest.raises(ValueError, match="one number per example") as error:
        attribution.gradient(models.mlp, score=score)(LAYERS, X, TARGET)
    (snippet,) = re.findall(r"`([^`]+)`", str(error.value))
    if snippet == "score='total'":
        mended = "total"
    else:
        mended = eval(f"lambda y, t: score(y, t){snippet}", {"score": score})
    received = attribution.gradient(models.mlp, score=mended)(LAYERS, X, TARGET)
    assert received.shape == X.shape


@pytest.mark.parametrize(
    ("target", "snippet"),
    [
        (np.eye(4)[TARGET], "target.argmax(axis=-1)"),
        (np.eye(4, dtype=int)[TARGET], "target.argmax(axis=-1)"),
        (np.asarray(TARGET)[:, None], "target[:, 0]"),
        (np.asarray(TARGET)[:, None].astype(float), "target[:, 0].astype(int)"),
        (np.asarray(TARGET).astype(float), "target.astype(int)"),
    ],
)
def test_a_target_of_another_form_is_told_what_to_write(target, snippet, unchecked):
    attribute = attribution.gradient(models.mlp)
    with pytest.raises((TypeError, ValueError)) as error:
        attribute(LAYERS, X, target)
    assert f"`{snippet}`" in str(error.value)
    mended = eval(snippet, {"target": target})
    np.testing.assert_array_equal(
        attribute(LAYERS, X, mended), attribute(LAYERS, X, TARGET)
    )


@pytest.mark.parametrize(
    "score",
    [
        lambda y, t: y,
        lambda y, t: y.sum(),
        lambda y, t: y[:, :1],
        lambda y, t: y[0],
    ],
)
@pytest.mark.parametrize(
    "method",
    [attribution.gradient, attribution.lrp, attribution.integrated_gradients],
)
def test_a_score_gives_one_number_per_example(method, score):
    with pytest.raises(ValueError, match=r"one number per example, shape \(3,\), and"):
        method(models.mlp, score=score)(LAYERS, X, TARGET)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (attribution.gradient, {}),
        (attribution.lrp, {"composite": rules.Composite([("*", rules.Gradient())])}),
        (attribution.integrated_gradients, {}),
    ],
)
@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (lambda v, x: jnp.fft.fft(models.mlp(v, x)), "complex128"),
        (lambda v, x: jnp.round(models.mlp(v, x)).astype(int), "int64"),
    ],
)
def test_a_score_is_a_real_number(method, options, model, dtype):
    with pytest.raises(TypeError, match=f"must return real numbers, and .* {dtype}"):
        method(model, score=lambda y, t: y.sum(1), **options)(LAYERS, X, TARGET)


def with_scalars(v, x):
    logits = models.mlp(v, x)
    aside = {"aux_loss": (logits**2).mean(), "count": jnp.int32(3)}
    return {**aside, "best": logits.argmax(-1), "logits": logits}


@pytest.mark.parametrize(
    "method",
    [
        attribution.gradient,
        attribution.guided_backprop,
        attribution.integrated_gradients,
        attribution.lrp,
        attribution.deep_taylor,
    ],
)
def test_a_model_may_return_scalars_beside_what_is_explained(method):
    received = method(with_scalars, score=lambda y, t: logit(y["logits"], t))
    expected = method(models.mlp)(LAYERS, X, TARGET)
    np.testing.assert_allclose(received(LAYERS, X, TARGET), expected, rtol=1e-10)


def test_there_is_no_total_of_a_scalar():
    with pytest.raises(ValueError, match=r"score=total sums what each example has"):
        attribution.gradient(lambda v, x: x.sum(), score=total)(None, X)


@pytest.mark.parametrize(
    "make",
    [
        attribution.gradient,
        attribution.lrp,
        attribution.deep_taylor,
        attribution.integrated_gradients,
        metrics.convergence_delta,
    ],
)
def test_a_score_is_a_function_or_its_name(make, unchecked):
    with pytest.raises(TypeError, match=r"`score` must be a function .*\n.*is 3\."):
        make(models.mlp, score=3)
    message = r"no score 'totel'.*Perhaps 'total'\?\nA channel .*'totel:3'"
    with pytest.raises(ValueError, match=message):
        make(models.mlp, score="totel")
    with pytest.raises(
        TypeError, match=r"takes one argument.\nWrite `score=lambda outputs, t"
    ):
        make(models.mlp, score=lambda outputs: outputs[:, 0])


@pytest.mark.parametrize("name", SCORES)
def test_a_name_means_the_score(name):
    score = getattr(objectives, name)
    for method in (attribution.gradient, attribution.lrp):
        received = method(models.mlp, score=name)(LAYERS, X, TARGET)
        expected = method(models.mlp, score=score)(LAYERS, X, TARGET)
        np.testing.assert_array_equal(received, expected)


def test_a_gradient_starts_with_the_slope_of_the_score():
    def squared(y, target):
        return logit(y, target) ** 2

    seed = np.asarray(gradient_seed(squared, LOGITS, TARGET))
    expected = np.zeros_like(LOGITS)
    expected[np.arange(3), TARGET] = 2 * LOGITS[np.arange(3), TARGET]
    np.testing.assert_allclose(seed, expected, rtol=1e-12)


def test_a_score_that_is_not_positive_has_no_positive_relevance():
    outputs = jnp.asarray([[1.0, -2.0], [3.0, 4.0], [jnp.nan, 1.0], [0.0, 5.0]])
    target = np.array([1, 0, 0, 0])
    seed = np.asarray(positive_relevance_seed(logit, outputs, target))
    np.testing.assert_array_equal(seed[[0, 1, 3]], [[0, 0], [3, 0], [0, 0]])
    assert np.isnan(seed[2, 0])


def test_classes_that_are_ruled_out_get_no_relevance():
    outputs = jnp.asarray(LOGITS).at[:, 2].set(-jnp.inf)
    seed = relevance_seed(logit, outputs, TARGET)
    np.testing.assert_array_equal(seed.sum(axis=1), LOGITS[np.arange(3), TARGET])


@pytest.mark.parametrize("target", ["cat", [None, 1], {"a": 1}])
def test_a_target_is_numbers(target, unchecked):
    with pytest.raises(TypeError, match="takes integer class indices as target, and"):
        logit(jnp.ones((2, 3)), target)
