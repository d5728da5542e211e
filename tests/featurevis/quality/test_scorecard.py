"""The scorecard says what the functions say, of images by `maximize`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from jaxinterp.featurevis.quality.achieved_scores import (
    achieved_scores,
    beside_natural,
)
from jaxinterp.featurevis.quality.image_diversity import image_diversity
from jaxinterp.featurevis.quality.scorecard import SecondNetwork, scorecard
from jaxinterp.featurevis.quality.spectrum_slope import spectrum_slope
from tests.networks.images import NET, SHAPE, VARIABLES, noise, tanh_model

KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def made() -> Any:
    """Pictures of three channels, two each, and natural examples of these."""
    objective = fv.channel("second", [0, 3, 4])
    result = fv.maximize(
        *(NET.apply, objective, VARIABLES),
        key=KEY,
        parametrization=fv.fourier(SHAPE),
        count=2,
        steps=40,
        progress=False,
    )
    photographs = [noise(8, seed=seed) for seed in range(3)]
    examples = fv.dataset_examples(NET.apply, objective, VARIABLES, photographs, k=3)
    return objective, result.images, examples, photographs


@pytest.fixture(scope="module")
def card(made: Any) -> Any:
    """What there is to say of these images."""
    return full_card(made)


def full_card(made: Any, **options: Any) -> Any:
    objective, images, examples, photographs = made
    other = NET.init(jax.random.key(9), jnp.zeros((1, *SHAPE), jnp.float32))
    natural = fv.dataset_examples(NET.apply, objective, other, photographs, k=1)
    return scorecard(
        *(NET.apply, objective, VARIABLES, images),
        natural=examples,
        count=2,
        transforms=[fv.roll(1), fv.noise(0.1)],
        samples=4,
        key=KEY,
        other=SecondNetwork(NET.apply, objective, other, natural),
        natural_images=jnp.asarray(fv.crops(photographs, examples.top)),
        arbitrary_images=noise(6, seed=7),
        sites="*relu*",
        **options,
    )


@pytest.mark.slow(reason="compiles all that a card says a second time")
def test_the_card_has_what_the_functions_say(made, card):
    objective, images, examples, _ = made
    scores = achieved_scores(NET.apply, objective, VARIABLES, images, count=2)
    np.testing.assert_array_equal(card.plain.scores, scores)
    np.testing.assert_array_equal(card.plain.natural, examples.top.scores[:, 0])
    beside = beside_natural(scores, examples)
    np.testing.assert_array_equal(card.plain.ratio, beside.ratio)
    assert card.success_rate == float(beside.success_rate)
    slopes = spectrum_slope(images).reshape(3, 2)
    np.testing.assert_array_equal(card.slope, slopes)
    diversity = image_diversity(NET.apply, "second", VARIABLES, images, count=2)
    np.testing.assert_array_equal(card.diversity, diversity)
    assert card.names == ("0", "3", "4")
    assert len(card.paths.sites) == 2


@pytest.mark.slow(reason="ascends from noise for 100 steps")
def test_ascent_beats_the_best_of_random_pictures(card):
    assert card.success_rate == 1
    assert "Of 3 units, 3 (100%) are above their best natural example, " in str(card)


@pytest.mark.slow(reason="compiles all that a card says a second time")
def test_the_card_does_not_depend_on_chunks(made, card):
    whole, parts = card, full_card(made, batch_size=5)
    for one, other in (
        (whole.plain.scores, parts.plain.scores),
        (whole.transformed.scores, parts.transformed.scores),
        (whole.transferred.scores, parts.transferred.scores),
        (whole.diversity, parts.diversity),
        (whole.paths.made, parts.paths.made),
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_card_prints_a_row_for_each_unit_and_a_summary(card):
    card = dataclasses.replace(card, names=("cat", "dog", "<b>"))
    lines = str(card).splitlines()
    head = lines[0].split("  ")
    columns = [word.strip() for word in head if word]
    assert columns == [
        *("unit", "natural", "achieved", "ratio", "transformed", "transferred"),
        *("slope", "diversity", "path", "natural path", "relative path"),
    ]
    assert lines[2].split()[0] == "cat"
    assert lines[2].split()[3] == f"{float(card.plain.ratio[0]):.2f}"
    assert lines[2].split()[4] == f"{float(card.transformed.ratio[0]):.2f}"
    assert lines[2].split()[7] == f"{float(card.diversity[0]):.2f}"
    assert "under transforms" in lines[5]
    assert "in the second network." in lines[5]
    assert lines[6].startswith("Medians: ratio ")
    html = card._repr_html_()
    assert html.count("<tr>") == 4
    assert "&lt;b&gt;" in html
    assert lines[6] in html


def test_what_is_not_asked_for_is_left_out():
    model = lambda w, x: jnp.tanh(x)  # noqa: E731
    images = jnp.array([[0.5, 0.0], [0.0, 0.5]])
    card = scorecard(model, "tanh:*", None, images, natural=jnp.array([0.1, -0.5]))
    assert str(card).splitlines() == [
        "unit  natural  achieved  ratio",
        "------------------------------",
        "0         0.1     0.462   4.62",
        "1        -0.5     0.462   none",
        "Of 2 units, 2 (100%) are above their best natural example.",
        "Medians: ratio 4.62.",
        "No ratio for 1 of 2: the best natural score is not positive.",
    ]
    left_out = (card.transformed, card.transferred, card.slope, card.diversity)
    assert (*left_out, card.paths) == (None,) * 5
    hopeless = scorecard(model, "tanh:*", None, 0 * images, natural=jnp.zeros(2))
    assert hopeless.success_rate == 0
    assert "Medians: none." in str(hopeless)


def test_a_unit_without_a_number_of_its_own_is_counted():
    images, natural = noise(2), jnp.ones(2)
    objective = fv.neuron("first", [3, 3], position=([0, 1], 2))
    card = scorecard(NET.apply, objective, VARIABLES, images, natural=natural)
    assert card.names == ("0", "1")
    logits = scorecard(NET.apply, fv.output([2, 1]), VARIABLES, images, natural=natural)
    assert logits.names == ("2", "1")
    assert logits.diversity is None


def test_logits_are_compared_where_it_is_said():
    card = scorecard(
        *(NET.apply, fv.output([2]), VARIABLES, noise(2)),
        natural=jnp.ones(1),
        count=2,
        diversity_site="first",
    )
    assert card.diversity.shape == (1,)
    assert 0 <= float(card.diversity[0]) <= 1


ERRORS = [
    ({"sites": "*"}, ValueError, "needs natural images and sites"),
    ({"natural_images": 1}, ValueError, "needs natural images and sites"),
    ({"arbitrary_images": 1}, ValueError, "needs natural images and sites"),
    ({"names": ["a", "b"]}, ValueError, "one for each of 1 units"),
    ({"names": "a"}, ValueError, "one for each of 1 units"),
    ({"natural": jnp.ones(2)}, ValueError, "for 1 units, and its shape is"),
    ({"count": 2}, ValueError, "There are 1 images, and count=2 for each of 1"),
    (
        {"transforms": [fv.jitter(1)]},
        TypeError,
        "is random and needs one key",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), ERRORS)
def test_the_card_says_what_is_wrong(unchecked, options, error, message):
    given = {"natural": jnp.ones(1), **options}
    with pytest.raises(error, match=message):
        scorecard(NET.apply, "first:0", VARIABLES, noise(1), **given)


def test_captions_say_how_good_a_picture_is():
    images = jnp.array([[[0.9, 0.0]], [[0.0, 0.2]]])
    card = scorecard(
        *(lambda w, x: jnp.tanh(w * x), "tanh:*", 1.0, images),
        natural=jnp.array([0.5, 0.0]),
    )
    assert card.captions == ("0: 1.4 x", "1: 0.197")
    card = scorecard(NET.apply, "first:0", VARIABLES, noise(1), natural=jnp.ones(1))
    slope = float(card.slope[0, 0])
    assert card.captions[0].endswith(f"x, slope {slope:.1f}")


def test_a_second_network_is_one(unchecked):
    other: Any = (NET.apply, "first:0", VARIABLES)
    with pytest.raises(TypeError, match="SecondNetwork"):
        scorecard(
            *(NET.apply, "first:0", VARIABLES, noise(1)),
            natural=jnp.ones(1),
            other=other,
        )


def test_a_picture_that_is_no_number_has_no_score_and_the_others_theirs():
    images = noise(2).at[1, 0, 0, 0].set(jnp.nan)
    given = (tanh_model, "tanh:0,1", jnp.eye(3), images)
    card = scorecard(*given, natural=jnp.full(2, 1e-3))
    assert np.isnan(card.plain.mean).tolist() == [False, True]
    assert card.success_rate == 0.5
    assert card.captions[1] == "1: NaN"
    assert "No score for 1 of 2: it is not a number (NaN) for unit 1." in str(card)
    assert "No ratio" not in str(card)
    assert str(card).splitlines()[3].split()[2] == "NaN"


def test_one_unit_is_no_units():
    given = (tanh_model, "tanh:0", jnp.eye(3), noise(1))
    card = scorecard(*given, natural=jnp.full(1, 1e-3))
    assert "Of 1 unit, 1 (100%) is above its best natural example." in str(card)


def test_the_card_is_not_made_under_jit():
    make = jax.jit(
        lambda images: (
            scorecard(
                tanh_model, "tanh:0", jnp.eye(3), images, natural=jnp.ones(1)
            ).plain
        )
    )
    with pytest.raises(TypeError, match="`achieved_scores` and the other functions"):
        make(noise(1))
