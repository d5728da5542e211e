"""Overlaps of units with concepts: sums over the dataset, caps, planted detectors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.concepts import dissect
from tests.oracles import concepts as oracle

RNG = np.random.default_rng(2)


def units(w, x):
    """Three units on a map of half the size, and a head that nothing reads."""
    return jnp.tanh(x[:, ::2, ::2] @ w).mean((1, 2))


def batches_of(images, masks, *cuts):
    edges = [0, *cuts, len(images)]
    return [
        (images[a:b], {name: mask[a:b] for name, mask in masks.items()})
        for a, b in itertools.pairwise(edges)
    ]


def test_overlaps_are_sums_over_the_dataset_however_it_is_cut():
    images, w = RNG.normal(size=(7, 8, 8, 2)), 0.2 * RNG.normal(size=(2, 3))
    masks = {"b": RNG.random((7, 8, 8)) < 0.2, "a": RNG.random((7, 8, 8)) < 0.05}
    result = dissect(units, "tanh", w, batches_of(images, masks, 4), quantile=0.1)
    other = dissect(units, "tanh", w, batches_of(images, masks, 3, 5), quantile=0.1)
    np.testing.assert_array_equal(result.iou, other.iou)
    first, *rest = batches_of(images, masks, 3)
    before = dissect(units, "tanh", w, [first], quantile=0.1)
    resumed = dissect(units, "tanh", w, iter(rest), resume=before)
    np.testing.assert_array_equal(resumed.thresholds, before.thresholds)
    assert (before.n_pixels, resumed.n_pixels) == (3 * 64, 7 * 64)
    for unit, i in itertools.product(range(3), range(2)):
        unit_map = np.tanh(images[:, ::2, ::2] @ w)[..., unit]
        mask = masks[resumed.concepts[i]]
        expected = oracle.overlap(unit_map, mask, before.thresholds[unit])
        np.testing.assert_allclose(
            (resumed.iou[unit, i], resumed.cap[unit, i]), expected, rtol=1e-12
        )
    assert result.concepts == ("a", "b")
    maps = np.tanh(images[:, ::2, ::2] @ w)
    for unit in range(3):
        threshold = result.thresholds[unit]
        n_above = np.sum(maps[..., unit] > threshold)  # or with the quantile itself
        assert n_above in (11, 12, 13)
        for i, name in enumerate(result.concepts):
            expected = oracle.overlap(maps[..., unit], masks[name], threshold)
            ours = result.iou[unit, i], result.cap[unit, i]
            np.testing.assert_allclose(ours, expected, rtol=1e-12)
    np.testing.assert_allclose(result.coverages, [masks[n].mean() for n in "ab"])


def test_a_planted_detector_reaches_its_cap_and_no_more():
    """A concept of 1.1 % of the pixels, on which one unit fires, and one at random."""
    concept = np.zeros((40, 32, 32), bool)
    for image in concept:  # 11.3 pixels of 1,024 on average
        row, column = RNG.integers(28, size=2)
        image[row : row + 4, column : column + 3] = True
    concept[::16] = False
    noise = 0.05 * RNG.exponential(size=(40, 32, 32, 2))
    images = np.where([True, False], concept[..., None] * noise, noise)

    def model(w, x):
        return (w * jnp.tanh(x)).sum((1, 2))

    batches = batches_of(images, {"blob": concept}, 16)
    small = dissect(model, "tanh", 1.0, batches)
    cover = concept.mean()
    assert cover == pytest.approx(0.011, abs=2e-4)
    np.testing.assert_allclose(small.cap[:, 0], 0.005 / cover, atol=0.01)
    np.testing.assert_allclose(small.iou[0], small.cap[0])
    assert small.iou[1, 0] < 0.02
    assert small.detectors() == {"blob": [0]}
    assert small.detectors(0.9) == {"blob": []}
    fitting = dissect(model, "tanh", 1.0, batches, quantile=cover)
    assert fitting.iou[0, 0] > 0.97
    assert "blob     0.4" in str(small)
    assert "<td>blob</td>" in small._repr_html_()


def test_detectors_are_listed_from_the_one_that_fits_best():
    """Three units that show more and more of one concept, and nothing else."""
    concept = np.zeros((1, 10, 10), bool)
    concept[:, 2:8, 2:8] = True
    rows = np.arange(10)[None, :, None]
    images = np.stack([concept & (rows < end) for end in (4, 8, 6)], axis=-1)
    batches = [(images.astype(float), {"block": concept})]
    found = dissect(lambda w, x: (w * jnp.tanh(x)).sum((1, 2)), "tanh", 1.0, batches)
    assert found.iou[:, 0].argsort().tolist() == [0, 2, 1]
    assert found.detectors() == {"block": [1, 2, 0]}


def test_what_cannot_be_compared_is_an_error():
    images, w = RNG.normal(size=(3, 8, 8, 2)), np.ones((2, 3))
    masks = {"a": np.zeros((3, 8, 8), bool)}
    pair = images, masks
    with pytest.raises(TypeError, match="`batches` twice"):
        dissect(units, "tanh", w, iter([pair]))
    for no_pair in (images, (*pair, masks), (images, {}), {"a": masks, "b": masks}):
        with pytest.raises(TypeError, match="each batch is a pair"):
            dissect(units, "tanh", w, [no_pair])
    with pytest.raises(TypeError, match="reads a stream on the host"):
        jax.jit(lambda w: dissect(units, "tanh", w, [pair]).n_active)(w)
    with pytest.raises(ValueError, match="`threshold` must lie between 0 and 1"):
        dissect(units, "tanh", w, [pair]).detectors(2.0)
    with pytest.raises(TypeError, match="each batch is a pair"):
        dissect(units, "tanh", w, [(images, masks["a"])])
    with pytest.raises(ValueError, match="masks are booleans"):
        dissect(units, "tanh", w, [(images, {"a": np.zeros((3, 8, 8))})])
    with pytest.raises(ValueError, match="`quantile` must lie between 0 and 1"):
        dissect(units, "tanh", w, [pair], quantile=2.0)
    with pytest.raises(ji.tracing.AddressError, match="tanh"):
        dissect(units, "relu", w, [pair])
    bad = images.copy()
    bad[1] = np.nan
    with pytest.raises(FloatingPointError, match="not finite for example 1"):
        dissect(units, "tanh", w, [(bad, masks)])
    before = dissect(units, "tanh", w, [pair])
    with pytest.raises(TypeError, match=r"`resume` is what .* and is float"):
        dissect(units, "tanh", w, [pair], resume=0.5)
    with pytest.raises(ValueError, match=r"3 units .*'a'.*, and this call for 3 .*'b'"):
        dissect(units, "tanh", w, [(images, {"b": masks["a"]})], resume=before)
    flat = images[:, 0, 0], masks
    with pytest.raises(ValueError, match="batch, rows, columns, units"):
        dissect(lambda w, x: jnp.tanh(x @ w), "tanh", w, [flat])


@pytest.mark.slow(reason="compiles a network and draws 192 images with masks")
def test_a_trained_network_has_detectors_of_shapes_and_textures(optimized):
    apply_fn, variables, draw = ji.models.pretrained("shapes_cnn")
    names = (*ji.data.SHAPES, *ji.data.TEXTURES, *ji.data.COLORS)
    batches = []
    for seed in range(3):
        data = draw(jax.random.key(20 + seed), 64)
        batches.append((data.images, {name: data.concept(name) for name in names}))
    early, late = (
        dissect(apply_fn, f"CNN/stage{stage}_1_relu", variables, batches)
        for stage in (2, 3)
    )
    assert (early.iou <= early.cap + 1e-12).all()
    counts = [sum(map(bool, r.detectors().values())) for r in (early, late)]
    assert counts[0] <= 6
    assert counts[1] == 10
    untrained = jax.tree.map(lambda v: v, variables)
    untrained["params"] = jax.tree.map(
        lambda p: jnp.asarray(RNG.normal(size=p.shape) * p.std(), p.dtype),
        variables["params"],
    )
    chance = dissect(apply_fn, "CNN/stage3_1_relu", untrained, batches)
    best, by_chance = (np.nanmax(r.iou, axis=1).mean() for r in (late, chance))
    assert best > 1.5 * by_chance
