"""The pattern is what the data say, and the filter is what a perfect model learns."""

import jax
import numpy as np
import pytest

from jaxinterp.data import linear_distractor

KEY = jax.random.key(4)
SIGNAL = (1.0, -2.0, 0.5, 0.0)
DISTRACTORS = ((1.0, 1.0, 0.0, 3.0), (0.0, 1.0, -1.0, 0.0))


@pytest.mark.parametrize("target", ["continuous", "binary"])
@pytest.mark.parametrize(
    ("signal", "distractor"), [((1.0, 0.0), (1.0, 1.0)), (SIGNAL, DISTRACTORS)]
)
def test_the_pattern_is_the_covariance_and_the_filter_reads_the_target(
    target, signal, distractor
):
    data = linear_distractor(
        KEY, 4096, signal=signal, distractor=distractor, target=target
    )
    x, y = np.asarray(data.inputs, np.float64), np.asarray(data.targets, np.float64)
    # Four standard errors of a slope: noise of variance at most 11 per feature.
    slopes = (x - x.mean(0)).T @ (y - y.mean()) / len(y) / y.var()
    bound = 4 * np.sqrt(11 / len(y) / y.var())
    np.testing.assert_allclose(slopes, data.pattern, atol=bound)
    np.testing.assert_allclose(data.pattern, signal)
    least_squares = np.linalg.lstsq(x, y, rcond=1e-5)[0]
    np.testing.assert_allclose(data.optimal_filter, least_squares, atol=1e-4)
    np.testing.assert_allclose(x @ np.asarray(data.optimal_filter), y, atol=1e-4)


def test_signals_and_distractors_add_up_to_inputs():
    data = linear_distractor(KEY, 100, signal=SIGNAL, distractor=DISTRACTORS)
    expected = np.outer(data.targets, SIGNAL)
    np.testing.assert_allclose(data.signals, expected, atol=1e-6)
    rest = np.asarray(data.distractors, np.float64)
    off = rest - rest @ np.linalg.pinv(DISTRACTORS) @ np.array(DISTRACTORS)
    np.testing.assert_allclose(off, 0, atol=1e-5)


def test_ideal_attributions_add_up_to_the_target():
    data = linear_distractor(KEY, 100)
    np.testing.assert_allclose(data.attributions.sum(1), data.targets, atol=1e-6)
    assert not np.asarray(data.attributions)[:, 1].any()


def test_binary_targets_have_two_values_and_labels():
    data = linear_distractor(KEY, 200, target="binary")
    assert set(np.asarray(data.targets).tolist()) == {-1.0, 1.0}
    np.testing.assert_array_equal(data.labels, (np.asarray(data.targets) + 1) / 2)


def test_strength_scales_the_distractor():
    weak, strong = (linear_distractor(KEY, 5, strength=s) for s in (0.5, 2.0))
    np.testing.assert_allclose(4 * weak.distractors, strong.distractors, rtol=1e-4)
    np.testing.assert_allclose(weak.optimal_filter, strong.optimal_filter, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"strength": 1e4},
        {"strength": 1e4, "distractor": (1.0, 1e-5)},
        {"strength": 3e3, "signal": SIGNAL, "distractor": DISTRACTORS},
        {"signal": (1.0, 1.0), "distractor": (1.0, 1.0003)},
    ],
)
def test_the_strongest_distractors_leave_the_target(settings):
    data = linear_distractor(KEY, 4096, **settings)
    np.testing.assert_allclose(
        data.inputs @ data.optimal_filter, data.targets, atol=0.01
    )


@pytest.mark.parametrize("strength", [0.0, 1e-60])
@pytest.mark.parametrize("signal", [(1.0, 0.0), (2.0, 2.0)])
def test_without_distractors_the_filter_is_the_shortest_that_reads_the_target(
    strength, signal
):
    data = linear_distractor(KEY, 50, signal=signal, strength=strength)
    np.testing.assert_array_equal(data.inputs, data.signals)
    x, y = np.asarray(data.inputs, np.float64), np.asarray(data.targets, np.float64)
    # Of all solutions, least squares in NumPy gives the one of the smallest norm.
    shortest = np.linalg.lstsq(x, y, rcond=1e-5)[0]
    np.testing.assert_allclose(data.optimal_filter, shortest, atol=1e-6)


def test_the_first_of_a_larger_set_are_those_of_a_smaller():
    for name in ("inputs", "targets"):
        small, large = (getattr(linear_distractor(KEY, n), name) for n in (3, 70))
        np.testing.assert_array_equal(small, large[:3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"signal": (2.0, 2.0)}, "lies in the span of the distractors"),
        ({"signal": (0.0, 0.0)}, "lies in the span of the distractors"),
        ({"signal": (1.0, 0.0, 0.0)}, r"They have \(3,\) and \(2,\)"),
        ({"signal": (np.nan, 1.0)}, r"`signal` must have entries .* is \[nan, 1.0\]"),
        ({"distractor": (np.inf, 1.0)}, r"`distractor` .* is \[\[inf, 1.0\]\]"),
        ({"strength": -1.0}, r"`strength` must lie between 0 and 10000, and is -1"),
        ({"strength": 10_001.0}, r"`strength` .* 10000, and is 10001\.0: beside"),
        ({"distractor": (1e9, 1e9)}, r"add up to 2e\+09, and beyond 30000 float32"),
        (
            {"signal": (1.0, 1.0), "distractor": (1.0, 1.00003), "strength": 1e-3},
            "or one less like `signal`",
        ),
        ({"strength": np.inf}, "`strength` must lie .* is inf"),
        ({"strength": np.nan}, "`strength` must lie .* is nan"),
        ({"target": "ternary"}, "`target` is 'ternary'"),
    ],
)
def test_bad_directions_are_errors(settings, message, unchecked):
    with pytest.raises(ValueError, match=message):
        linear_distractor(KEY, 1, **settings)


def test_without_a_key_is_an_error():
    with pytest.raises(TypeError, match="needs one key"):
        linear_distractor(None, 1)
