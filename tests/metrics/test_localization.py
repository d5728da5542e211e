"""Attributions and masks by hand, and against an oracle."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.metrics import (
    localization,
    localization_auc,
    pointing_game,
    relevance_mass,
    relevance_rank,
)
from tests.compiled import compiled
from tests.oracles import metrics as oracle

RNG = np.random.default_rng(0)
ATTRIBUTIONS = np.round(RNG.normal(size=(7, 4, 5)), 1)  # with ties
MASKS = RNG.random((7, 4, 5)) < 0.4
FUNCTIONS = (pointing_game, relevance_mass, relevance_rank, localization_auc)
ORACLES = (
    oracle.pointing,
    oracle.relevance_mass,
    oracle.relevance_rank,
    lambda a, m: oracle.auc(a[m], a[~m]),
)
LOCALIZATION = compiled(localization)
MASK = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], bool)[None]


def test_all_are_what_the_papers_say():
    ours = LOCALIZATION(ATTRIBUTIONS, MASKS)
    for values, function, expected in zip(ours, FUNCTIONS, ORACLES, strict=True):
        for i in range(7):
            a, m = ATTRIBUTIONS[i].ravel(), MASKS[i].ravel()
            np.testing.assert_allclose(values[i], expected(a, m), rtol=1e-12)
        alone = compiled(function)(ATTRIBUTIONS[2:3], MASKS[2:3])
        np.testing.assert_allclose(alone, values[2:3], rtol=1e-12)


def test_the_mask_itself_is_perfect_and_its_inverse_the_opposite():
    perfect = LOCALIZATION(MASK.astype(float), MASK)
    assert [float(value[0]) for value in perfect] == [1, 1, 1, 1]
    opposite = LOCALIZATION(-MASK.astype(float), MASK)
    assert float(opposite.auc[0]) == 0
    assert float(opposite.pointing[0]) == 0
    assert math.isnan(opposite.mass[0])


def test_only_the_mass_sees_how_large_attributions_are():
    higher = LOCALIZATION(3 * ATTRIBUTIONS, MASKS)
    base, shifted = (LOCALIZATION(ATTRIBUTIONS + s, MASKS) for s in (0, 5.0))
    for a, b in zip(base, higher, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    for name in ("pointing", "rank", "auc"):
        np.testing.assert_allclose(
            getattr(base, name), getattr(shifted, name), rtol=1e-12
        )
    assert np.abs(np.asarray(base.mass) - shifted.mass).min() > 0.01


@pytest.mark.parametrize(
    ("attribution", "mask", "undefined"),
    [
        (ATTRIBUTIONS[:1], np.zeros_like(MASKS[:1]), (True, True, True, True)),
        (ATTRIBUTIONS[:1], np.ones_like(MASKS[:1]), (False, False, False, True)),
        (np.ones_like(ATTRIBUTIONS[:1]), MASKS[:1], (True, False, False, True)),
        (-np.ones_like(ATTRIBUTIONS[:1]), MASKS[:1], (True, True, False, True)),
        (np.where(MASKS[:1], np.nan, 1.0), MASKS[:1], (True, True, True, True)),
    ],
    ids=["empty", "full", "constant", "negative", "nan"],
)
def test_what_is_not_defined_is_nan(attribution, mask, undefined):
    values = LOCALIZATION(attribution, mask)
    assert tuple(bool(np.isnan(value[0])) for value in values) == undefined


def test_tied_maxima_count_by_their_share_inside():
    a = np.zeros((1, 4, 4))
    a[0, 1, 1] = a[0, 1, 2] = a[0, 0, 0] = 2.0
    np.testing.assert_allclose(pointing_game(a, MASK), [2 / 3])


def test_a_tolerance_widens_the_mask_by_a_disk():
    mask = np.zeros((1, 9, 9), bool)
    mask[0, 4, 4] = True
    places = np.eye(81).reshape(81, 9, 9)  # one example for each place
    masks = np.tile(mask, (81, 1, 1))
    hits = pointing_game(places, masks, tolerance=3)
    rows, columns = np.indices((9, 9)) - 4
    np.testing.assert_array_equal(hits, (rows**2 + columns**2 <= 9).ravel())
    np.testing.assert_array_equal(pointing_game(places, masks), mask.ravel())


def test_sequences_half_precision_and_no_examples():
    a, mask = jnp.asarray(ATTRIBUTIONS[:, 0], jnp.bfloat16), MASKS[:, 0]
    for value in LOCALIZATION(a, mask):
        assert value.shape == (7,)
        assert value.dtype == jnp.float32
    assert all(value.shape == (0,) for value in LOCALIZATION(a[:0], mask[:0]))
    mapped = compiled(jax.vmap(localization))(ATTRIBUTIONS[:, None], MASKS[:, None])
    np.testing.assert_allclose(
        mapped.rank[:, 0], LOCALIZATION(ATTRIBUTIONS, MASKS).rank, rtol=1e-12
    )


@pytest.mark.parametrize("function", [*FUNCTIONS, localization])
def test_other_masks_are_errors(function):
    with pytest.raises(TypeError, match=r"int64\[7, 4, 5\].*\n.*`mask > 0`"):
        function(ATTRIBUTIONS, MASKS.astype(int))
    with pytest.raises(ValueError, match=r"shape \(7, 4, 5\).*\n.*\.sum\(axis=-1\)"):
        function(np.stack([ATTRIBUTIONS] * 3, axis=-1), MASKS)
    with pytest.raises(ValueError, match=r"shape \(5,\)"):
        function(ATTRIBUTIONS[0, 0], MASKS[0, 0])


def test_a_tolerance_is_of_pixels():
    with pytest.raises(ValueError, match=r"pixels of images.*\(7, 5\)"):
        pointing_game(ATTRIBUTIONS[:, 0], MASKS[:, 0], tolerance=2)
    with pytest.raises(ValueError, match="`tolerance` must be an integer"):
        pointing_game(ATTRIBUTIONS, MASKS, tolerance=-1)


def test_without_places_nothing_is_defined():
    for values in localization(ATTRIBUTIONS[:, :0], MASKS[:, :0]):
        assert np.isnan(values).all()
