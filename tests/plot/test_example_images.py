"""Pages and sheets of what `dataset_examples` found: which images, and whose."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from jaxinterp.plot import feature_page, feature_sheet
from jaxinterp.plot.example_images import checked_units

RNG = np.random.default_rng(0)
DATA = RNG.random((7, 4, 6, 3), np.float32)
IMAGES = RNG.random((2, 8, 8, 3), np.float32)
W = RNG.normal(size=(3, 5)).astype(np.float32)


def model(w, x):
    return jnp.tanh(jnp.einsum("nhwc,cd->nhwd", x, w))


def found(k=2, objective="tanh:4,1"):
    batches = [DATA[:3], DATA[3:]]
    return fv.dataset_examples(model, objective, W, batches, k=k, progress=False)


@pytest.mark.parametrize(
    "dataset",
    [
        DATA,
        jnp.asarray(DATA),
        [DATA[:4], DATA[4:]],
        (DATA[i : i + 1] for i in range(7)),
    ],
    ids=["array", "jax", "batches", "generator"],
)
def test_the_images_are_those_of_the_numbers(dataset):
    examples = found()
    units = checked_units("call", IMAGES, examples, dataset, None)
    scores = np.tanh(np.einsum("nhwc,cd->nhwd", DATA, W)).mean((1, 2))
    for unit, channel in enumerate((4, 1)):
        best = np.argsort(-scores[:, channel])[:2]
        np.testing.assert_array_equal(units.examples[unit], DATA[best])
    assert units.names == ["tanh:4", "tanh:1"]


def test_another_sort_has_numbers_for_names():
    units = checked_units("call", IMAGES, found().bottom, DATA, None)
    np.testing.assert_array_equal(units.examples, DATA[found().bottom.indices])
    assert units.names == ["0", "1"]
    assert checked_units("call", IMAGES, found(), DATA, "ab").names == ["a", "b"]


def test_where_there_are_too_few_examples_there_is_no_image():
    units = checked_units("call", IMAGES, found(k=9), DATA, None)
    is_nan = np.isnan(units.examples).all((2, 3, 4))
    np.testing.assert_array_equal(is_nan, [7 * [False] + 2 * [True]] * 2)
    page = feature_page(IMAGES, found(k=9), dataset=DATA)
    assert page.count("example nan") == 4


def test_pages_and_sheets_take_what_was_found():
    examples = found()
    real = DATA[examples.top.indices]
    page = feature_page(IMAGES, examples, dataset=DATA)
    assert page == feature_page(IMAGES, real, names=["tanh:4", "tanh:1"])
    sheet = feature_sheet(IMAGES, examples, dataset=DATA)
    assert sheet.axes[3].get_title(loc="left") == "tanh:1"
    np.testing.assert_array_equal(sheet.axes[1].images[0].get_array(), real[0, 0])


def test_names_are_objectives():
    assert found(objective="tanh:*").names == tuple(f"tanh:{i}" for i in range(5))
    assert found(objective=fv.output([2, 0])).names == (":2", ":0")
    in_corners = fv.neuron("tanh", 3, position=(np.array([0, 3]), 0))
    assert found(objective=in_corners).names == ("0", "1")
    both = fv.channel("tanh", [0, 1]) + fv.channel("tanh", [1, 2])
    assert found(objective=both).names == ("0", "1")


@pytest.mark.parametrize(
    ("examples", "dataset", "message"),
    [
        (found(), None, "Give the images too, `dataset=images`"),
        (found(), DATA[:2], r"has 2 images, and an example is number \d"),
        (found(), iter(()), "has 0 images"),
        (found(), 3, r"`dataset` is int\. Give images \(batch"),
        (found(), DATA[..., 0], r"a batch of `dataset` has shape \(4, 6\)"),
        (found(), 2 * DATA, r"`dataset` must be in \[0, 1\]"),
        (found(objective="tanh:*"), DATA, "2 images, and examples of 5 units"),
        (IMAGES[:, None], DATA, "Leave it out"),
        (types.SimpleNamespace(top=None), None, "`examples` must be an array"),
    ],
)
def test_examples_that_cannot_be_shown(examples, dataset, message):
    with pytest.raises(ValueError, match=f"feature_page: .*{message}"):
        feature_page(IMAGES, examples, dataset=dataset)
    with pytest.raises(ValueError, match=r"image_grid\(images, titles=names\)"):
        feature_sheet(IMAGES, None)
