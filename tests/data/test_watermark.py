"""The artefact is all that differs from the clean image; its cue tells the label."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.data import shapes, watermark

COUNT = 40
KEY = jax.random.key(3)


@pytest.mark.parametrize("kind", ["patch", "tint", "border"])
def test_the_image_differs_from_the_clean_one_on_the_artefact_alone(kind):
    data = watermark(KEY, COUNT, kind=kind, prevalence=0.5)
    differs = (data.images != data.clean).any(-1)
    np.testing.assert_array_equal(differs, data.artefact)
    has_one = np.asarray(data.artefact).any((1, 2))
    np.testing.assert_array_equal(has_one, np.asarray(data.cue) >= 0)
    assert 0.2 < has_one.mean() < 0.8
    share = np.asarray(data.artefact)[has_one].mean((1, 2))
    low, high = {"patch": (0.01, 0.05), "tint": (1, 1), "border": (0.1, 0.3)}[kind]
    assert low <= share.min() <= share.max() <= high


@pytest.mark.parametrize(
    ("kind", "opacity"),
    [
        ("patch", 1e-4),
        ("tint", 1e-4),
        ("border", 1e-4),
        *[
            pytest.param(kind, 1.0, marks=pytest.mark.slow(reason="less can fail"))
            for kind in ("patch", "tint", "border")
        ],
    ],
)
def test_a_faint_artefact_too_changes_all_of_its_pixels(kind, opacity):
    data = watermark(KEY, COUNT, kind=kind, opacity=opacity, prevalence=0.5)
    differs = (np.asarray(data.images) != np.asarray(data.clean)).any(-1)
    np.testing.assert_array_equal(differs, data.artefact)


def test_the_clean_images_are_those_of_shapes():
    data, base = watermark(KEY, COUNT), shapes(KEY, COUNT, distractors=0)
    np.testing.assert_array_equal(data.clean, base.images)
    np.testing.assert_array_equal(data.labels, base.shape_label)
    np.testing.assert_array_equal(data.object_mask, base.mask)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_the_cue_is_the_label_as_often_as_announced(correlation):
    data = watermark(jax.random.key(0), 1024, correlation=correlation, size=16)
    agreement = np.mean(np.asarray(data.cue == data.labels))
    expected = correlation + (1 - correlation) / 4
    bound = 4 * np.sqrt(expected * (1 - expected) / 1024)
    assert abs(agreement - expected) <= bound


def test_the_color_of_the_artefact_tells_the_cue_and_nothing_else():
    data = watermark(KEY, COUNT, opacity=1.0, correlation=0.0)
    colors = {}
    images, artefacts = np.asarray(data.images), np.asarray(data.artefact)
    for cue, image, mask in zip(data.cue, images, artefacts, strict=True):
        colors.setdefault(int(cue), []).append(image[mask])
    assert len(colors) == 4
    means = []
    for pixels in colors.values():
        stacked = np.concatenate(pixels)
        np.testing.assert_allclose(stacked, stacked[:1].repeat(len(stacked), 0), 1e-6)
        means.append(stacked[0])
    gaps = [np.abs(a - b).max() for i, a in enumerate(means) for b in means[:i]]
    assert min(gaps) > 0.3


def test_the_first_of_a_larger_set_are_those_of_a_smaller():
    small, large = (watermark(KEY, n, correlation=0.5) for n in (COUNT, 70))
    chex.assert_trees_all_equal(small, jax.tree.map(lambda a: a[:COUNT], large))


def test_it_may_be_jitted():
    traced = jax.eval_shape(lambda key: watermark(key, COUNT), KEY)
    eager = watermark(KEY, COUNT)
    assert jax.tree.map(jnp.shape, traced) == jax.tree.map(jnp.shape, eager)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "stain"}, "`kind` is 'stain'. There are: 'patch', 'tint', 'border'"),
        ({"correlation": -0.1}, "`correlation` must lie between 0 and 1"),
        ({"prevalence": 1.5}, "`prevalence` must lie between 0 and 1"),
        ({"opacity": 0}, "`opacity` is 0"),
        ({"size": 4}, "`size` must be an integer of at least 16"),
    ],
)
def test_bad_settings_are_errors(settings, message, unchecked):
    with pytest.raises(ValueError, match=message):
        watermark(KEY, 1, **settings)
