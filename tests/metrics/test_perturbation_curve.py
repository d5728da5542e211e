"""The curve against an oracle, and what it must be where the truth is known."""

import itertools
import re

import jax
import numpy as np
import pytest

from jaxinterp import metrics
from jaxinterp.attribution import gradient, input_x_gradient
from jaxinterp.objectives import logit, total
from jaxinterp.perturbation.segments import grid_segments
from tests.compiled import compiled
from tests.few import few
from tests.networks import functions as models
from tests.oracles import metrics as oracle

RNG = np.random.default_rng(0)
# The linear model: f(x) = w x + c, whose attribution is w x.
WEIGHTS = {"w": RNG.normal(size=(1, 6)), "c": 0.7}
X = RNG.normal(size=(4, 6))
SHARES = WEIGHTS["w"] * X
EACH = np.arange(6)


def linear(v, x):
    return x * v["w"] + v["c"] / 6


def value(x):
    """The score of the linear model, of one example."""
    return float((WEIGHTS["w"][0] * x).sum() + WEIGHTS["c"])


def curve_of(attributions, **options):
    measure = metrics.perturbation_curve(linear, score=total, **options)
    return compiled(measure)(WEIGHTS, X, attributions)


# --- The oracle -----------------------------------------------------------------------

ORDERS = [("morf", "delete"), ("lerf", "delete"), ("morf", "insert")]
ROWS, COLUMNS, CHANNELS = 4, 5, 2
IMAGES = RNG.normal(size=(3, ROWS, COLUMNS, CHANNELS))
MAPS = {
    "positions": np.repeat(np.arange(20).reshape(4, 5, 1), CHANNELS, axis=2),
    "entries": np.arange(40).reshape(4, 5, 2),
    "patches": np.repeat(grid_segments((4, 5), 2)[..., None], CHANNELS, axis=2),
    "a few": np.where(MASK := RNG.random((4, 5, 2)) < 0.6, 0, -1)
    + np.where(MASK, RNG.permutation(40).reshape(4, 5, 2) % 3, 0),
}
SEGMENTS = MAPS | {
    "positions": "positions",
    "entries": None,
    "patches": grid_segments((4, 5), 2),
}


@pytest.mark.parametrize(
    ("order", "mode", "segments"),
    few(
        [(*order, name) for order in ORDERS for name in MAPS],
        [(*ORDERS[0], "a few"), (*ORDERS[1], "patches"), (*ORDERS[2], "positions")],
        reason="every map with every order",
    ),
)
def test_it_is_the_curve_of_the_paper(order, mode, segments):
    variables = models.cnn_weights()
    attributions = np.round(np.sin(9 * IMAGES), 1)  # with ties
    baseline = RNG.normal(size=(1, ROWS, COLUMNS, CHANNELS))
    measure = metrics.perturbation_curve(
        models.cnn,
        order=order,
        mode=mode,
        segments=SEGMENTS[segments],
        steps=7,
        baseline=baseline,
        score=logit,
    )
    target = models.targets()
    curve = compiled(measure)(variables, IMAGES, attributions, target)
    numbers = MAPS[segments]
    n_features = numbers.max() + 1
    points = min(7, n_features)
    counts = [int(j * n_features / points + 0.5) for j in range(points + 1)]
    np.testing.assert_allclose(
        curve.fractions, np.tile(np.divide(counts, n_features), (3, 1)), rtol=1e-12
    )
    forward = jax.jit(models.cnn)
    for i, x in enumerate(IMAGES):
        expected = oracle.perturbation_curve(
            lambda x, i=i: float(forward(variables, x[None])[0, target[i]]),
            x,
            baseline[0],
            oracle.feature_order(attributions[i], numbers, order),
            numbers,
            counts,
            mode,
        )
        np.testing.assert_allclose(curve.scores[i], expected, rtol=1e-9, atol=1e-12)


def test_maps_may_differ_between_examples():
    maps = np.array([[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1]])
    measure = metrics.perturbation_curve(linear, score=total, segments=maps, steps=3)
    curve = compiled(measure)(WEIGHTS, X[:2], SHARES[:2])
    np.testing.assert_allclose(
        curve.fractions, [[0, 1 / 3, 2 / 3, 1], [0, 0.5, 0.5, 1]]
    )
    for i, counts in enumerate([[0, 1, 2, 3], [0, 1, 1, 2]]):
        ordered = oracle.feature_order(SHARES[i], maps[i], "morf")
        expected = oracle.perturbation_curve(
            value, X[i], np.zeros(6), ordered, maps[i], counts
        )
        np.testing.assert_allclose(curve.scores[i], expected, rtol=1e-12)
    measure = metrics.perturbation_curve(
        linear, score=total, segments=maps[1:], steps=3
    )
    alone = compiled(measure)(WEIGHTS, X[1:2], SHARES[1:2])
    np.testing.assert_allclose(metrics.area(alone), metrics.area(curve)[1:], rtol=1e-12)


# --- The linear model -----------------------------------------------------------------


def test_what_is_left_of_a_linear_score_is_what_was_not_deleted():
    curve = curve_of(SHARES)
    falling = np.cumsum(-np.sort(-SHARES, axis=1), axis=1)
    start = SHARES.sum(axis=1, keepdims=True) + WEIGHTS["c"]
    expected = np.concatenate([start, start - falling], axis=1)
    np.testing.assert_allclose(curve.scores, expected, rtol=1e-12)
    np.testing.assert_allclose(
        metrics.aopc(curve), (start - expected).mean(axis=1), rtol=1e-12
    )
    # The area in closed form: the k-th of D features weighs (2k - 1) / 2D.
    weights = (2 * np.arange(1, 7) - 1) / 12
    area = WEIGHTS["c"] + -np.sort(-SHARES, axis=1) @ weights
    np.testing.assert_allclose(metrics.area(curve), area, rtol=1e-12)
    deletion = compiled(metrics.deletion(linear, score=total))(WEIGHTS, X, SHARES)
    np.testing.assert_allclose(deletion, area, rtol=1e-12)


def test_insertion_mirrors_deletion_of_an_additive_score():
    curves = [curve_of(SHARES, mode=mode, baseline=0.3) for mode in metrics_modes()]
    whole = linear(WEIGHTS, X).sum(axis=1) + linear(WEIGHTS, 0 * X + 0.3).sum(axis=1)
    np.testing.assert_allclose(
        curves[0].scores + curves[1].scores, np.tile(whole[:, None], 7), rtol=1e-12
    )
    insertion = compiled(metrics.insertion(linear, score=total, baseline=0.3))
    np.testing.assert_allclose(
        insertion(WEIGHTS, X, SHARES), metrics.area(curves[1]), rtol=1e-12
    )


def metrics_modes():
    return ("delete", "insert")


def test_the_reverse_order_inserts_the_same_images_backward():
    deleted = curve_of(SHARES, mode="delete")
    inserted = curve_of(SHARES, mode="insert", order="lerf")
    np.testing.assert_allclose(
        inserted.scores, np.asarray(deleted.scores)[:, ::-1], rtol=1e-12
    )


def test_the_least_relevant_first_is_the_order_of_the_inverse():
    lerf, inverse = curve_of(SHARES, order="lerf"), curve_of(-SHARES)
    np.testing.assert_array_equal(lerf.scores, inverse.scores)
    gap = metrics.abpc(curve_of(SHARES), lerf)
    expected = metrics.aopc(curve_of(SHARES)) - metrics.aopc(lerf)
    np.testing.assert_allclose(gap, expected, rtol=1e-12)
    assert (gap > 0).all()
    np.testing.assert_allclose(metrics.abpc(lerf, curve_of(SHARES)), -gap, rtol=1e-12)


def test_no_order_has_a_larger_area_than_that_of_the_shares():
    orders = np.array(list(itertools.permutations(range(6))))
    measure = compiled(metrics.perturbation_curve(linear, score=total))
    one, rows = X[:1], np.repeat(X[:1], len(orders), axis=0)
    every = metrics.aopc(measure(WEIGHTS, rows, orders.astype(float)))
    best = metrics.aopc(measure(WEIGHTS, one, SHARES[:1]))
    worst = metrics.aopc(measure(WEIGHTS, one, -SHARES[:1]))
    np.testing.assert_allclose([every.max(), every.min()], [best[0], worst[0]])
    # A random order has no gap, on average.
    lerf = measure(WEIGHTS, rows, -orders.astype(float))
    gaps = metrics.abpc(measure(WEIGHTS, rows, orders.astype(float)), lerf)
    np.testing.assert_allclose(gaps.mean(), 0, atol=1e-12)


def test_moving_features_moves_nothing_else():
    shuffled = RNG.permutation(6)
    measure = compiled(metrics.perturbation_curve(linear, score=total))
    there = {"w": WEIGHTS["w"][:, shuffled], "c": WEIGHTS["c"]}
    moved = measure(there, X[:, shuffled], SHARES[:, shuffled])
    np.testing.assert_allclose(moved.scores, curve_of(SHARES).scores, rtol=1e-12)


def test_a_constant_attribution_has_the_order_of_the_entries():
    constant = curve_of(np.ones_like(X))
    np.testing.assert_array_equal(
        constant.scores, curve_of(np.tile(-EACH, (4, 1)).astype(float)).scores
    )


# --- Inputs ---------------------------------------------------------------------------


def test_both_ends_are_there_and_the_points_are_no_more_than_features():
    for steps, points in [(1, 2), (4, 5), (6, 7), (50, 7)]:
        curve = curve_of(SHARES, steps=steps)
        assert curve.scores.shape == curve.fractions.shape == (4, points)
        np.testing.assert_allclose(curve.scores[:, 0], linear(WEIGHTS, X).sum(axis=1))
        np.testing.assert_allclose(curve.scores[:, -1], WEIGHTS["c"])
        assert (np.diff(curve.fractions, axis=1) > 0).all()
        assert (curve.fractions[:, 0] == 0).all()
        assert (curve.fractions[:, -1] == 1).all()


def test_attributions_of_positions_are_sums_over_channels():
    measure = compiled(metrics.perturbation_curve(models.cnn, steps=4))
    variables, target = models.cnn_weights(), models.targets()
    attributions = np.sin(IMAGES)
    whole = measure(variables, IMAGES, attributions, target)
    summed = attributions.sum(axis=-1)
    for given in (summed, summed[..., None]):
        curve = measure(variables, IMAGES, given, target)
        np.testing.assert_allclose(curve.scores, whole.scores, rtol=1e-12)


def test_tokens_are_replaced_by_another_token():
    tokens = models.tokens()
    measure = metrics.perturbation_curve(models.tagger, baseline=3, score=logit)
    attributions = np.cos(tokens + np.arange(4.0))
    curve = compiled(measure)(
        models.token_weights(), tokens, attributions, models.targets()
    )
    assert curve.scores.shape == (3, 5)
    replaced = models.tagger(models.token_weights(), np.full_like(tokens, 3))
    expected = np.asarray(replaced)[np.arange(3), models.targets()]
    np.testing.assert_allclose(curve.scores[:, -1], expected, rtol=1e-12)


def test_a_baseline_that_is_drawn_takes_the_key():
    def drawn(inputs, key):
        return jax.random.normal(key, inputs.shape)

    measure = metrics.perturbation_curve(linear, score=total, baseline=drawn)
    measure = compiled(measure)
    ends = [
        measure(WEIGHTS, X, SHARES, key=jax.random.key(seed)).scores[:, -1]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(ends[0], ends[1])
    assert np.abs(ends[0] - ends[2]).min() > 1e-3
    assert measure(WEIGHTS, X[:0], SHARES[:0], key=jax.random.key(0)).scores.size == 0


def test_an_attribution_with_nan_has_no_curve():
    attributions = SHARES.copy()
    attributions[1, 2] = np.nan
    curve = curve_of(attributions)
    assert np.isnan(curve.scores[1]).all()
    np.testing.assert_array_equal(curve.scores[2], curve_of(SHARES).scores[2])
    assert np.isfinite(curve.fractions).all()


def test_a_better_attribution_falls_faster():
    variables, x, target = models.mlp_weights(), models.vectors(), models.targets()
    x = np.concatenate([x, models.normal(50, 61, 5)])
    target = np.arange(64) % models.CLASSES
    curve = compiled(metrics.perturbation_curve(models.mlp, score=logit))
    gaps = []
    for method in (input_x_gradient, gradient):
        attributions = method(models.mlp)(variables, x, target)
        gaps.append(
            float(metrics.aopc(curve(variables, x, attributions, target)).mean())
        )
    random = metrics.at_random(None, x, key=jax.random.key(0))
    gaps.append(float(metrics.aopc(curve(variables, x, random, target)).mean()))
    assert gaps[0] > gaps[1] > gaps[2]


# --- Errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "most"}, "`order` is 'most'. There are: 'morf', 'lerf'"),
        ({"mode": "blur"}, "`mode` is 'blur'. There are: 'delete', 'insert'"),
        ({"steps": 0}, "`steps` must be an integer of at least 1"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
    ],
)
def test_options_that_make_no_sense_are_errors(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        metrics.perturbation_curve(linear, **options)


def test_what_does_not_fit_the_inputs_is_an_error(unchecked):
    with pytest.raises(ValueError, match="`segments` is 'pixels'"):
        curve_of(SHARES, segments="pixels")
    with pytest.raises(ValueError, match="segment map of shape"):
        curve_of(SHARES, segments=np.arange(5))
    with pytest.raises(TypeError, match="array of integers"):
        curve_of(SHARES, segments=np.ones(6))
    with pytest.raises(ValueError, match="baseline of shape"):
        curve_of(SHARES, baseline=np.ones(5))
    with pytest.raises(ValueError, match=r"`attributions` has shape \(4, 5\), and"):
        curve_of(SHARES[:, :5])
    with pytest.raises(ValueError, match=r"structure PyTreeDef\(\{'a': \*\}\), and"):
        curve_of({"a": SHARES})
    with pytest.raises(TypeError, match="`score` must be a function"):
        metrics.perturbation_curve(linear, score=3)


def test_the_target_is_checked_before_it_is_hidden():
    measure = metrics.perturbation_curve(models.mlp)
    arguments = (models.mlp_weights(), models.vectors(), models.vectors())
    with pytest.raises(ValueError, match="target 9 is out of range for 4 classes"):
        measure(*arguments, np.array([0, 9, 1]))
    constant = metrics.perturbation_curve(models.mlp, score=lambda y, target: y)
    with pytest.raises(ValueError, match="must return one number per example"):
        constant(*arguments)


def test_curves_of_different_points_have_no_difference():
    with pytest.raises(ValueError, match=r"shapes \(4, 7\) and \(4, 4\)"):
        metrics.abpc(curve_of(SHARES), curve_of(SHARES, order="lerf", steps=3))


def test_a_host_loop_and_a_scan_give_the_same():
    measure = metrics.perturbation_curve(linear, score=total, batch_size=2)
    expected = curve_of(SHARES).scores
    for run in (measure, compiled(measure)):
        actual = run(WEIGHTS, X, SHARES).scores
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_areas_are_of_curves():
    curve = curve_of(SHARES)
    moved = curve._replace(fractions=curve.fractions**2)
    with pytest.raises(ValueError, match="or other points"):
        metrics.abpc(curve, moved)
    for wrong in (curve.scores, metrics.Curve(*(part[0] for part in curve))):
        for number in (metrics.area, metrics.aopc, lambda c: metrics.abpc(c, c)):
            with pytest.raises(TypeError, match="A curve is what a measure of"):
                number(wrong)
