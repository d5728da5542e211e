"""The table of methods and metrics, on models whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import gradient, input_x_gradient, smooth
from jaxinterp.metrics import (
    aopc,
    bootstrap,
    compare,
    deletion,
    insertion,
    parameter_randomization,
    perturbation_curve,
    relevance_mass,
    sensitivity,
)
from jaxinterp.metrics.contract import own_key
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks import functions as models

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(1, 4, 4, 1))
X = RNG.normal(size=(30, 4, 4, 1))


def linear(w, x):
    return (w * x).sum(axis=(1, 2))


SHARES = input_x_gradient(linear, score=total)
METHODS = {"shares": SHARES, "gradient": gradient(linear, score=total)}
METRICS = {
    "deletion": deletion(linear, score=total),
    "insertion": insertion(linear, score=total),
}


@pytest.fixture(scope="module")
def table():
    return compare(
        METHODS, METRICS, WEIGHTS, X, key=KEY, method_metrics={"moves": sensitivity}
    )


def test_rows_are_methods_and_references(table):
    names = ("shares", "gradient", "-shares", "-gradient", "random", "edges")
    assert table.methods == names
    assert table.metrics == ("deletion", "insertion", "moves")
    assert table.values.shape == (30, 6, 3)


def test_values_are_those_of_the_measures(table):
    shares = SHARES(WEIGHTS, X)
    expected = METRICS["deletion"](WEIGHTS, X, shares)
    np.testing.assert_allclose(table.values[:, 0, 0], expected, rtol=1e-12)
    expected = METRICS["insertion"](WEIGHTS, X, -shares)
    np.testing.assert_allclose(table.values[:, 2, 1], expected, rtol=1e-12)
    expected = sensitivity(SHARES)(WEIGHTS, X, shares, key=KEY)
    np.testing.assert_allclose(table.values[:, 0, 2], expected, rtol=1e-12)
    assert (table.values[:, 1, 2] == 0).all()  # the gradient of a linear model


def test_the_truth_of_a_linear_model_comes_out(table):
    mean = dict(zip(table.methods, table.interval.mean, strict=True))
    assert mean["shares"][0] < mean["gradient"][0]
    assert mean["shares"][0] < mean["random"][0] < mean["-shares"][0]
    assert mean["shares"][1] > mean["random"][1] > mean["-shares"][1]
    # What the order is worth for deletion, it is worth for the inverse's insertion.
    np.testing.assert_allclose(mean["shares"][0], mean["-shares"][1], rtol=1e-9)
    is_marked = {
        row[0]: [cell.endswith("*") for cell in row[1:3]] for row in table._table()[1]
    }
    assert is_marked["shares"] == is_marked["-shares"] == [True, True]
    assert is_marked["random"] == is_marked["edges"] == [False, False]


def test_intervals_are_bootstraps_of_the_values(table):
    expected = bootstrap(table.values, own_key(KEY))
    for ours, theirs in zip(table.interval, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    paired = bootstrap(table.values - table.values[:, 4:5], own_key(KEY))
    np.testing.assert_array_equal(table.difference.low, paired.low)


def test_it_prints_as_a_table():
    values = {
        "a": lambda v, x, a, t, k: a.sum((1, 2, 3)),
        "partly": lambda v, x, a, t, k: np.where(np.arange(4) < 3, 1.0, np.nan),
        "never": lambda v, x, a, t, k: np.full(4, np.nan),
    }

    def ones(variables, inputs, target=None, key=None):
        return jnp.ones_like(inputs)

    table = compare(
        {"ones": ones}, values, None, X[:4], key=KEY, references=("inverse",)
    )
    assert str(table) == repr(table)
    assert str(table).splitlines() == [
        "method  a                           partly                    never",
        "-" * 71,
        "ones    16.000 [16.000, 16.000]     1.000 [1.000, 1.000] n=3  undefined",
        "-ones   -16.000 [-16.000, -16.000]  1.000 [1.000, 1.000] n=3  undefined",
        "Means over 4 examples with 95% bootstrap intervals.",
    ]
    assert table.difference is None
    assert "<td>ones</td><td>16.000 [16.000, 16.000]</td>" in table._repr_html_()
    assert "<p>Means over 4 examples" in table._repr_html_()


def test_a_random_method_gets_the_key_that_the_measure_gets():
    noisy = smooth(gradient(models.smooth_mlp), samples=2, noise_level=0.5)
    table = compare(
        {"noisy": noisy},
        {},
        models.mlp_weights(),
        models.vectors(),
        models.targets(),
        key=KEY,
        method_metrics={"moves": lambda m: sensitivity(m, radius=1e-6)},
        references=(),
    )
    assert (table.values < 1e-4).all()


def test_masks_curves_and_layers_are_reduced_by_the_caller():
    mask = np.zeros((30, 4, 4), bool)
    mask[:, :2] = True
    curve = perturbation_curve(linear, score=total, steps=4)

    def model(variables, x):
        return linear(variables["w"], x)

    def init(key):
        return {"w": jax.random.normal(key, WEIGHTS.shape)}

    def forgets(method):
        measure = parameter_randomization(model, attribution_fn=method, init=init)
        return lambda *args: measure(*args).attributions[:, -1]

    shares = input_x_gradient(model, score=total)
    table = compare(
        {"shares": shares},
        {
            "aopc": lambda v, *rest: aopc(curve(v["w"], *rest)),
            "mass": lambda v, x, a, t, k: relevance_mass(a.sum(-1), mask),
        },
        {"w": WEIGHTS},
        X,
        key=KEY,
        method_metrics={"forgets": forgets},
    )
    mean = dict(zip(table.methods, table.interval.mean, strict=True))
    assert mean["shares"][0] > 0 > mean["-shares"][0]
    assert abs(mean["random"][1] - 0.5) < 0.1
    np.testing.assert_allclose(table.values[:, -1, 2], 1)  # edges do not forget
    assert mean["shares"][2] < 0.9


def test_vectors_have_no_edges():
    table = compare(
        {"m": gradient(models.mlp)},
        {"deletion": deletion(models.mlp, steps=2)},
        models.mlp_weights(),
        models.vectors(),
        0,
        key=KEY,
    )
    assert table.methods == ("m", "-m", "random")


def test_what_cannot_be_compared_is_an_error():
    def called(methods=METHODS, metrics=METRICS, key=KEY, **options):
        return compare(methods, metrics, WEIGHTS, X, key=key, **options)

    with pytest.raises(ValueError, match="`references` is 'sobel'"):
        called(references=("sobel",))
    with pytest.raises(ValueError, match="rows would be"):
        called(methods={})
    with pytest.raises(ValueError, match=r"'random', 'random'"):
        called(methods={"random": SHARES}, references=("random",))
    with pytest.raises(ValueError, match="Two metrics have one name: deletion, insert"):
        called(method_metrics={"deletion": sensitivity})
    curve = perturbation_curve(linear, score=total)
    with pytest.raises(ValueError, match="metric 'curve' must return one value per"):
        called(metrics={"curve": curve})
    with pytest.raises(TypeError, match=r"compare\(\) is random and needs one key"):
        called(key=None)
    with pytest.raises(TypeError, match=r"compare\(\) returns numbers to read"):
        compiled(lambda x: compare(METHODS, METRICS, WEIGHTS, x, key=KEY).values)(X)


def test_methods_and_metrics_are_functions_by_name():
    for name, wrong in (("methods", [1]), ("metrics", [1]), ("methods", {"a": 3})):
        arguments = {"methods": METHODS, "metrics": METRICS} | {name: wrong}
        with pytest.raises(TypeError, match=f"compare: `{name}"):
            compare(*arguments.values(), WEIGHTS, X, key=KEY)
    with pytest.raises(ValueError, match="needs a metric"):
        compare(METHODS, {}, WEIGHTS, X, key=KEY)


def test_no_example_has_no_mean():
    table = compare(METHODS, METRICS, WEIGHTS, X[:0], key=KEY)
    assert np.isnan(table.interval.mean).all()


def test_the_target_is_checked_before_it_is_hidden():
    """Otherwise the attributions would be NaN, and so the table."""
    model = lambda w, x: x @ w  # noqa: E731
    measure = lambda v, x, a, t, k: jnp.asarray(a).sum(axis=1)  # noqa: E731
    with pytest.raises(ValueError, match="target 9 is out of range for 3 classes"):
        compare(
            {"gradient": gradient(model)},
            {"sum": measure},
            *(np.ones((4, 3)), np.ones((2, 4)), np.array([0, 9])),
            key=KEY,
        )
