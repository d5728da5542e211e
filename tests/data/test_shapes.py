"""Masks are where the image changes when the thing they mask is left out."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.data import COLORS, PARTS, SHAPES, TEXTURES, shapes
from jaxinterp.data.geometry import signed_distances

COUNT = 48
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def data():
    return jax.tree.map(np.asarray, shapes(KEY, COUNT))


@pytest.fixture(scope="module")
def alone():
    return jax.tree.map(np.asarray, shapes(KEY, COUNT, distractors=0))


def differs(a, b):
    return (a != b).any(axis=-1)


def test_images_are_float32_within_0_and_1(data):
    assert data.images.dtype == data.without_target.dtype == np.float32
    assert data.images.shape == (COUNT, 64, 64, 3)
    assert data.images.min() >= 0
    assert data.images.max() <= 1


def test_the_image_differs_from_that_without_the_target_on_the_mask_alone(data):
    np.testing.assert_array_equal(differs(data.images, data.without_target), data.mask)
    assert data.mask.any((1, 2)).all()


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_noise_up_to_a_tenth_leaves_a_difference_on_all_of_the_mask(noise):
    noisy = shapes(jax.random.key(0), 64, noise=noise)
    differs = np.asarray((noisy.images != noisy.without_target).any(-1))
    mask = np.asarray(noisy.mask)
    assert not (differs & ~mask).any()
    assert (mask & ~differs).any() == (noise > 0.1)


def test_the_image_differs_from_that_without_distractors_where_they_are(data, alone):
    np.testing.assert_array_equal(data.labels, alone.labels)
    change = np.abs(data.images - alone.images).max(-1)
    np.testing.assert_array_equal(change > 1e-4, data.instances > 1)


def test_masks_are_nested_and_the_outline_is_white(data):
    assert not (data.part_mask & ~data.mask).any()
    assert not (data.texture_mask & ~data.mask).any()
    assert not (data.color_mask & ~data.texture_mask).any()
    white = data.images[data.mask & data.outline]
    assert white.min() > 0.8
    assert not (data.outline & ~data.mask).any()


def test_the_color_of_the_color_mask_is_that_of_the_label(data):
    for image, mask, color in zip(
        data.images, data.color_mask, data.color_label, strict=True
    ):
        assert image[mask].mean(axis=0).argmax() == color


def test_marks_are_dark_and_only_on_textured_objects(data):
    is_plain = data.texture_label == TEXTURES.index("plain")
    assert not (data.marks & data.mask)[is_plain].any()
    for i in np.flatnonzero(~is_plain):
        marks, rest = data.marks[i] & data.mask[i], data.color_mask[i]
        assert data.images[i][marks].max(-1).mean() < 0.4
        assert data.images[i][rest].max(-1).mean() > 0.7


def test_stripes_repeat_along_one_direction_and_dots_along_two(data):
    """A stripe is longer than any dot: its marks lie farther from one another."""
    reach = {"striped": [], "dotted": []}
    for i in np.flatnonzero(data.texture_label > 0):
        inner = _largest_component(data.marks[i] & data.texture_mask[i])
        reach[TEXTURES[data.texture_label[i]]].append(inner)
    assert np.median(reach["striped"]) > 2 * np.median(reach["dotted"])


def _largest_component(mask):
    left, largest = set(zip(*np.nonzero(mask), strict=True)), 0
    while left:
        stack, size = [left.pop()], 0
        while stack:
            i, j = stack.pop()
            size += 1
            near = {(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)} & left
            left -= near
            stack += near
        largest = max(largest, size)
    return largest


def test_labels_are_those_of_the_target(data):
    expected = (data.shape_label * 3 + data.texture_label) * 3 + data.color_label
    np.testing.assert_array_equal(data.labels, expected)
    name = data.class_names[data.labels[0]]
    words = (
        TEXTURES[data.texture_label[0]],
        COLORS[data.color_label[0]],
        SHAPES[data.shape_label[0]],
    )
    assert name == " ".join(words)
    assert len(set(data.class_names)) == 36


def test_the_target_is_larger_than_any_distractor_and_not_cut_off(data):
    radius = {}
    for k in (1, 2, 3):
        radius[k] = [_extent(instance == k) for instance in data.instances]
    assert np.min(radius[1]) > max(np.max(radius[2]), np.max(radius[3]))
    border = np.ones((64, 64), bool)
    border[1:-1, 1:-1] = False
    # A disk may touch the border, and never loses more than its outermost pixels.
    assert (data.mask & border).sum((1, 2)).max() <= 12


def _extent(mask):
    """The distance of the farthest pixel from the middle of the bounding box."""
    y, x = np.nonzero(mask)
    return np.hypot(np.ptp(y), np.ptp(x))


def test_objects_hardly_ever_overlap(data):
    """An object without its neighbors would show more pixels if it were covered."""
    visible = np.stack([(data.instances == k).sum((1, 2)) for k in (2, 3)])
    assert (visible > 30).mean() > 0.9


def test_concepts_are_the_union_over_all_objects(data):
    union = np.any([data.concept(name) for name in SHAPES], axis=0)
    np.testing.assert_array_equal(union, data.instances > 0)
    for column, names in enumerate((SHAPES, TEXTURES, COLORS)):
        for value, name in enumerate(names):
            expected = np.zeros_like(data.mask)
            for i in range(COUNT):
                for k, kind in enumerate(data.objects[i], start=1):
                    expected[i] |= (data.instances[i] == k) & (kind[column] == value)
            if column:
                expected &= ~data.outline
            if column == 2:
                expected &= ~data.marks
            np.testing.assert_array_equal(data.concept(name), expected, name)
    for shape, part in zip(SHAPES, PARTS, strict=True):
        whole = data.concept(shape)
        np.testing.assert_array_equal(data.concept(part), whole & data.parts)
        assert data.concept(part).any()


def test_an_unknown_concept_is_an_error_that_lists_the_known(data):
    with pytest.raises(ValueError, match=r"no concept 'blob'.*disk.*rim.*plain.*red"):
        data.concept("blob")


def test_classes_are_equally_likely_and_distractors_tell_nothing():
    many = shapes(jax.random.key(1), 1024, size=16)
    for column, size in ((0, 4), (1, 3), (2, 3)):
        kinds = np.asarray(many.objects[:, :, column])
        for k in range(3):
            rate = np.bincount(kinds[:, k], minlength=size) / len(kinds)
            # Four standard errors of a rate of at most 1/3.
            assert np.abs(rate - 1 / size).max() < 4 * np.sqrt(2 / 9 / len(kinds))
        joint = np.zeros((size, size))
        np.add.at(joint, (kinds[:, 0], kinds[:, 1]), 1 / len(kinds))
        independent = np.outer(joint.sum(1), joint.sum(0))
        assert np.abs(joint - independent).max() < 4 * np.sqrt(0.1 / len(kinds))


def test_the_first_of_a_larger_set_are_those_of_a_smaller(data):
    first = jax.tree.map(lambda leaf: leaf[:COUNT], shapes(KEY, 100))
    chex.assert_trees_all_equal(data, first)


def test_it_may_be_jitted_and_the_key_may_be_mapped(data):
    traced = jax.eval_shape(jax.jit(jax.vmap(lambda k: shapes(k, 2))), KEY[None])
    for a, b in zip(traced, data, strict=True):
        assert (a.shape, a.dtype) == ((1, 2, *b.shape[1:]), b.dtype)


def test_distances_have_the_right_sign_and_stay_within_the_unit_disk():
    middles = (jnp.arange(240) + 0.5) / 100 - 1.2
    u, v = jnp.meshgrid(middles, middles)
    inside = np.asarray(signed_distances(u, v) < 0)
    assert not inside[:, np.hypot(u, v) > 1].any()
    area = inside.mean((1, 2)) * 2.4**2
    star = 10 * 0.5 * 0.5 * np.sin(np.pi / 5)
    exact = [np.pi * 0.85**2, 1.4**2, 3 * np.sqrt(3) / 4, star]
    np.testing.assert_allclose(area, exact, rtol=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "`count` must be an integer of at least 1, and is 0"),
        ({"size": 8}, "`size` must be an integer of at least 16"),
        ({"distractors": -1}, "`distractors` must be an integer of at least 0"),
        ({"noise": 2.0}, "`noise` must lie between 0 and 1, and is 2.0"),
    ],
)
def test_bad_settings_are_errors(settings, message, unchecked):
    with pytest.raises(ValueError, match=message):
        shapes(KEY, **{"count": 1, **settings})


def test_without_a_key_is_an_error():
    with pytest.raises(TypeError, match=r"Write `key=jax\.random\.key\(0\)`"):
        shapes(None, 1)
