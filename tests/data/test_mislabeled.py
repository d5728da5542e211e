"""The labels are wrong as often, and in the way, that the noise matrix says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.data import mislabeled

KEY = jax.random.key(2)
CLASSES = 4
LABELS = np.arange(2048) % CLASSES
FEATURES = np.random.default_rng(0).normal(size=(2048, 5))
MATRIX = np.array(
    [[0.7, 0.3, 0, 0], [0, 1, 0, 0], [0.2, 0.2, 0.5, 0.1], [0, 0, 0.6, 0.4]]
)


def frequencies(noisy):
    """P(given | true), counted."""
    counts = np.zeros((CLASSES, CLASSES))
    np.add.at(counts, (np.asarray(noisy.true_labels), np.asarray(noisy.labels)), 1)
    return counts / counts.sum(1, keepdims=True)


def within_sampling_error(noisy, expected):
    # Four standard errors of a rate among 512 examples of a class; 0 stays 0 exactly.
    bound = 4 * np.sqrt(expected * (1 - expected) / 512)
    return (np.abs(frequencies(noisy) - expected) <= bound + 1e-9).all()


def expected_matrix(kind, rate):
    matrix = np.zeros((CLASSES, CLASSES))
    for true in range(CLASSES):
        for given in range(CLASSES):
            if given == true:
                matrix[true, given] = 1 - rate
            elif kind == "symmetric":
                matrix[true, given] = rate / (CLASSES - 1)
            elif given == (true + 1) % CLASSES:
                matrix[true, given] = rate
    return matrix


@pytest.mark.parametrize("kind", ["symmetric", "pairflip"])
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_class_conditional_noise_follows_its_matrix(kind, rate):
    noisy = mislabeled(KEY, LABELS, kind=kind, rate=rate)
    expected = expected_matrix(kind, rate)
    np.testing.assert_allclose(noisy.noise_matrix, expected, atol=1e-6)
    assert within_sampling_error(noisy, expected)


def test_any_matrix_may_be_given():
    noisy = mislabeled(KEY, LABELS, noise_matrix=MATRIX)
    np.testing.assert_allclose(noisy.noise_matrix, MATRIX, atol=1e-6)
    assert within_sampling_error(noisy, MATRIX)
    np.testing.assert_allclose(noisy.probabilities, MATRIX[LABELS], atol=1e-6)


def test_corrupted_indices_are_where_labels_differ():
    noisy = mislabeled(KEY, LABELS)
    np.testing.assert_array_equal(noisy.true_labels, LABELS)
    wrong = [i for i in range(2048) if int(noisy.labels[i]) != LABELS[i]]
    assert noisy.corrupted_indices.tolist() == wrong
    assert 0.15 < len(wrong) / 2048 < 0.25


def test_instance_noise_follows_its_probabilities():
    noisy = mislabeled(KEY, LABELS, kind="instance", rate=0.3, features=FEATURES)
    law = np.asarray(noisy.probabilities)
    np.testing.assert_allclose(law.sum(1), 1, atol=1e-5)
    expected = np.stack([law[c == LABELS].mean(0) for c in range(CLASSES)])
    np.testing.assert_allclose(noisy.noise_matrix, expected, atol=1e-5)
    assert within_sampling_error(noisy, expected)
    rates = 1 - law[np.arange(2048), LABELS]
    assert abs(rates.mean() - 0.3) < 0.01
    assert 0.08 < rates.std() < 0.12
    # The law depends on the example: the likeliest wrong class is not always the same.
    wrong = np.where(np.eye(CLASSES)[LABELS] > 0, -1, law)
    assert len(set(wrong[LABELS == 0].argmax(1))) == CLASSES - 1


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.1, 0.5, 0.9, 0.98, 0.999])
def test_the_mean_of_instance_rates_is_the_rate_also_near_0_and_1(rate):
    noisy = mislabeled(KEY, LABELS, kind="instance", rate=rate, features=FEATURES)
    rates = 1 - np.asarray(noisy.probabilities, np.float64)[np.arange(2048), LABELS]
    # Within [0, 2 rate] or [2 rate - 1, 1]; four standard errors of the mean.
    reach = min(rate, 1 - rate)
    assert np.abs(rates - rate).max() <= reach + 1e-6
    assert abs(rates.mean() - rate) <= 4 * min(reach / np.sqrt(3), 0.1) / np.sqrt(2048)
    assert rates.std() > 0.5 * min(reach, 0.1)
    bound = 4 * np.sqrt(rate * (1 - rate) / 2048)
    assert abs(float(noisy.is_corrupted.mean()) - rate) <= bound


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_instance_noise_of_rate_0_or_1_corrupts_nothing_or_everything(rate):
    noisy = mislabeled(KEY, LABELS, kind="instance", rate=rate, features=FEATURES)
    assert (np.asarray(noisy.is_corrupted) == bool(rate)).all()
    np.testing.assert_array_equal(np.diag(noisy.noise_matrix), 1 - rate)


def test_instance_noise_depends_on_the_direction_of_features_alone():
    noisy = mislabeled(KEY, LABELS, kind="instance", features=FEATURES)
    for unit in (1e3, 1e-30, 1e30):  # the squares of the last two leave float32
        scaled = mislabeled(KEY, LABELS, kind="instance", features=unit * FEATURES)
        np.testing.assert_allclose(noisy.probabilities, scaled.probabilities, atol=1e-4)
    images = FEATURES.reshape(2048, 5, 1, 1)
    shaped = mislabeled(KEY, LABELS, kind="instance", features=images)
    np.testing.assert_array_equal(noisy.labels, shaped.labels)


def test_the_joint_distribution_adds_up_to_the_frequencies_of_classes():
    labels = np.repeat(np.arange(4), [10, 20, 30, 40])
    joint = np.asarray(mislabeled(KEY, labels).joint)
    np.testing.assert_allclose(joint.sum(1), [0.1, 0.2, 0.3, 0.4], atol=1e-6)


def test_the_first_labels_do_not_depend_on_how_many_there_are():
    few, many = mislabeled(KEY, LABELS[:70]), mislabeled(KEY, LABELS)
    np.testing.assert_array_equal(few.labels, many.labels[:70])


def test_it_may_be_jitted_if_the_number_of_classes_is_given():
    labels = jnp.asarray(LABELS[:70])
    jitted = jax.jit(lambda key, y: mislabeled(key, y, classes=4))(KEY, labels)
    np.testing.assert_array_equal(jitted.labels, mislabeled(KEY, LABELS[:70]).labels)
    with pytest.raises(ValueError, match=r"needs `classes=\.\.\.`"):
        jax.jit(lambda y: mislabeled(KEY, y).labels)(labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": [0, 5], "classes": 3}, "between 0 and 5, and `classes` is 3"),
        ({"labels": [-1, 1]}, "between -1 and 1"),
        ({"labels": [0, 0]}, "at least 2 classes"),
        ({"labels": [[0, 1]]}, r"shape \(count,\), and have \(1, 2\)"),
        ({"rate": 1.2}, "`rate` must lie between 0 and 1"),
        ({"kind": "random"}, "`kind` is 'random'. There are: 'symmetric'"),
        ({"noise_matrix": np.ones((2, 3))}, r"must be square, and has shape \(2, 3\)"),
        (
            {"noise_matrix": np.ones((2, 2))},
            r"add up to \[2.0, 2.0\].*Write `matrix.T`",
        ),
        ({"noise_matrix": np.eye(3), "classes": 2}, "for 3 classes, and there are 2"),
        ({"kind": "instance"}, "needs `features=...`"),
        ({"kind": "instance", "features": np.ones((3, 2))}, "each of the 2 labels"),
        ({"kind": "instance", "features": np.ones((2, 0))}, r"has shape \(2, 0\)"),
        (
            {"kind": "instance", "features": [[1.0, 2.0], [np.nan, 1.0]]},
            r"must be finite.* 1, the first is 1\..*`np.nan_to_num\(features\)`",
        ),
        ({"kind": "instance", "features": [[np.inf], [1.0]]}, "the first is 0"),
    ],
)
def test_what_does_not_fit_is_an_error(settings, message, unchecked):
    settings = {"labels": [0, 1], **settings}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        mislabeled(KEY, settings.pop("labels"), **settings)


def test_labels_that_are_no_integers_and_a_missing_key_are_errors():
    with pytest.raises(TypeError, match="`labels` must be integers, and are float"):
        mislabeled(KEY, np.array([0.0, 1.0]))
    with pytest.raises(TypeError, match="needs one key"):
        mislabeled(None, [0, 1])


def test_a_class_without_examples_keeps_its_label():
    features = np.random.default_rng(0).normal(size=(40, 3))
    labels = np.arange(40) % 2 * 2  # none is 1
    noisy = mislabeled(
        jax.random.key(0), labels, kind="instance", features=features, classes=3
    )
    np.testing.assert_allclose(noisy.noise_matrix.sum(axis=1), 1, atol=1e-6)
    assert noisy.noise_matrix[1].tolist() == [0, 1, 0]


@pytest.mark.parametrize("classes", [0, 1, 2.5])
def test_classes_are_checked_under_jit_too(unchecked, classes):
    make = jax.jit(lambda labels: mislabeled(KEY, labels, classes=classes).labels)
    with pytest.raises(ValueError, match="`classes` must be an integer of at least 2"):
        make(jnp.array([0, 1]))


def test_labels_that_leave_the_integers_are_an_error():
    with pytest.raises(ValueError, match="one is 4294967297"):
        mislabeled(jax.random.key(0), np.array([0, 1, 2**32 + 1]))
