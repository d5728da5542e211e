"""Pasting: flips by hand, controls that take away what any patch does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxinterp.trust import artifact_effect
from jaxinterp.trust.artifact_effect import mc_nemar

KEY = jax.random.key(0)
# Images of 4 x 4 in gray; class 2 is told by a bright corner, 0 and 1 by the mean.
IMAGES = np.random.default_rng(0).uniform(0, 0.5, size=(60, 4, 4, 1))


def model(w, x):
    mean = x[:, 1:].mean((1, 2, 3))
    return jnp.stack([0.25 - mean, mean - 0.25, w * (x[:, 0, 0, 0] - 0.7)], axis=1)


def bright(x, key):
    return x.at[:, 0, 0].set(1.0)


def measured(paste=bright, w=9.0, target=2, images=IMAGES, **options):
    options = {"key": KEY, "controls": 5} | options
    return artifact_effect(model, paste, w, images, target, **options)


def test_what_decides_is_exposed():
    found = measured()
    assert float(found.flips.mean) == 1
    assert float(found.control_flips.mean) == 0
    assert found.effect == found.flips
    assert int(found.effect.n_valid) == 60
    assert found.is_exposed
    assert found.p_value == pytest.approx(2 / 2**60)


def test_numbers_are_those_of_a_loop():
    own = measured(control=lambda x, key: x.at[:, 0, 0].set(0.72), w=3.0)
    logits = np.asarray(model(3.0, jnp.asarray(IMAGES)))
    flips, control, odds = [], [], []
    for image, before in zip(IMAGES, logits, strict=True):
        assert before.argmax() != 2
        values = {}
        for corner in (1.0, 0.72):
            pasted = image.copy()
            pasted[0, 0] = corner
            z = np.asarray(model(3.0, jnp.asarray(pasted[None])))[0]
            values[corner] = z
        flips.append(values[1.0].argmax() == 2)
        control.append(values[0.72].argmax() == 2)
        odds.append(
            np.subtract(
                *(z[2] - np.log(np.exp(z[0]) + np.exp(z[1])) for z in values.values())
            )
        )
    assert 0 < np.mean(control) < 1
    assert float(own.flips.mean) == np.mean(flips)
    assert float(own.control_flips.mean) == pytest.approx(np.mean(control))
    assert float(own.effect.mean) == pytest.approx(np.mean(flips) - np.mean(control))
    assert float(own.log_odds.mean) == pytest.approx(np.mean(odds))


def test_images_of_the_target_do_not_count():
    images = IMAGES.copy()
    images[::2, 0, 0] = 1
    found = measured(images=images)
    assert int(found.flips.n_valid) == 30
    # Controls come from the others, whose corners are dark.
    assert float(found.control_flips.mean) == 0


def two_pixels(w, x):
    z = x[:, 1, 1, 0] + x[:, 3, 3, 0] - 0.5
    return jnp.stack([-z, z], axis=1)


def test_no_image_is_its_own_control():
    images = np.zeros((2, 4, 4, 1))
    images[:, 1, 1, 0], images[:, 3, 3, 0] = [0.1, 0.45], [0.1, 0.0]
    found = artifact_effect(
        *(two_pixels, lambda x, key: x.at[:, 1, 1].set(0.6), None, images, 1), key=KEY
    )
    # The first one gets 0.45 from the second, which gets 0.1 from the first.
    assert float(found.control_flips.mean) == 0.5


def test_controls_take_the_place_of_the_patch_from_other_images():
    found = artifact_effect(
        *(two_pixels, lambda x, key: x.at[:, 1, 1].set(0.5), None, IMAGES, 1),
        key=KEY,
        controls=40,
    )
    one, other = IMAGES[:, 1, 1, 0], IMAGES[:, 3, 3, 0]
    is_valid = one + other <= 0.5
    flips = one[None, is_valid] + other[is_valid, None] > 0.5
    n_valid = is_valid.sum()
    assert float(found.flips.mean) == 1
    assert 0.1 < flips.sum() / (n_valid * (n_valid - 1)) < 0.5
    assert float(found.control_flips.mean) == pytest.approx(
        flips.sum() / (n_valid * (n_valid - 1)), abs=0.03
    )


def test_pasting_nothing_does_exactly_nothing():
    found = measured(lambda x, key: x)
    for part in (found.flips, found.control_flips, found.effect, found.log_odds):
        assert [float(number) for number in part[:3]] == [0, 0, 0]
    assert found.p_value == 1
    assert not found.is_exposed


@pytest.mark.slow(reason="twenty sets of images, for the rate of false alarms")
def test_a_patch_that_says_nothing_is_hardly_ever_exposed():
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 0.5, size=(20, 40, 4, 4, 1))

    def patch(x, key):
        return x.at[:, 1, 1, 0].set(0.5 * jax.random.uniform(key, (len(x),)))

    exposed = [
        measured(patch, target=0, images=x, key=jax.random.key(seed)).is_exposed
        for seed, x in enumerate(images)
    ]
    assert sum(exposed) <= 2


def test_what_is_not_defined_is_nan():
    all_target = IMAGES.copy()
    all_target[:, 0, 0] = 1
    found = measured(images=all_target)
    assert np.isnan([found.effect.mean, found.flips.mean, found.p_value]).all()
    assert not found.is_exposed
    one = measured(images=IMAGES[:1])
    assert float(one.flips.mean) == 1
    assert np.isnan([one.effect.mean, one.p_value]).all()
    assert np.isnan(measured(images=IMAGES[:0]).flips.mean)


def test_batches_do_not_matter_and_dtypes_are_kept():
    found, again = measured(), measured(batch_size=7)
    assert found == again
    half = measured(images=jnp.asarray(IMAGES, jnp.bfloat16))
    assert float(half.effect.mean) == 1


def test_the_exact_test_of_pairs():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 30)) < [[0.6], [0.3]]
    only = (first & ~second).sum(), (second & ~first).sum()
    expected = scipy.stats.binomtest(int(only[0]), int(sum(only))).pvalue
    assert mc_nemar(first, second) == pytest.approx(expected)
    assert mc_nemar(first, first) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": 3}, "no class 3"),
        ({"target": -1}, "`target` must be an integer"),
        ({"paste": lambda x, key: x[:2]}, r"`paste` returns .* \(60, 4, 4, 1\)"),
        ({"control": lambda x, key: x[0]}, "`control` returns"),
        ({"controls": 0}, "`controls` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
    ],
)
def test_wrong_calls(change, message):
    with pytest.raises(ValueError, match=message):
        measured(**change)


def test_a_model_without_logits():
    with pytest.raises(ValueError, match=r"returns logits \(batch, classes\)"):
        artifact_effect(lambda w, x: x.mean(), bright, 1.0, IMAGES, 0, key=KEY)
    with pytest.raises(TypeError, match="artifact_effect"):
        measured(key=0)


def test_what_is_not_a_number_flips_nothing():
    """The largest of NaN would count as class 0."""
    x, key = jnp.ones((4, 3)), jax.random.key(0)
    paste = lambda x, key: x  # noqa: E731
    with pytest.raises(FloatingPointError, match=r"image 0 \(and 3 others\)"):
        artifact_effect(lambda w, x: x * jnp.nan, paste, None, x, 1, key=key)
    with pytest.raises(ValueError, match="of at least two classes"):
        artifact_effect(lambda w, x: x[:, :1], paste, None, x, 0, key=key)
    with pytest.raises(ValueError, match="and returned NoneType"):
        artifact_effect(lambda w, x: x, lambda x, key: None, None, x, 1, key=key)
    with pytest.raises(TypeError, match="images are one array"):
        artifact_effect(lambda w, x: x, paste, None, {"a": x}, 1, key=key)
    with pytest.raises(TypeError, match="`paste` must be a function"):
        artifact_effect(lambda w, x: x, 3, None, x, 1, key=key)
