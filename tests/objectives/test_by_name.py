"""What strings mean."""

import numpy as np
import pytest

from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.evaluate import count_units
from jaxinterp.objectives.output import output
from jaxinterp.objectives.unit import channel
from tests.objectives.views import bind, scores

RNG = np.random.default_rng(0)
ACTIVATIONS = {
    name: RNG.normal(size=(2, 3, 4, 9))
    for name in ("site", "block/conv[3x3]", "a:b", "*")
}
LOGITS = RNG.normal(size=(2, 9))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("site:4", channel("site", 4)),
        ("site:3,5", channel("site", [3, 5])),
        ("site: 3, 5", channel("site", [3, 5])),
        (" site :4", channel("site", 4)),
        ("site:2-4", channel("site", [2, 3, 4])),
        ("site:0,2-3,8", channel("site", [0, 2, 3, 8])),
        ("site:7-7", channel("site", 7)),
        ("site:-1", channel("site", -1)),
        ("site:*", channel("site")),
        ("block/conv[3x3]:4", channel("block/conv[3x3]", 4)),
        ("a:b:4", channel("a:b", 4)),
        ("*:4", channel("*", 4)),
        (":4", output(4)),
        (":1,2", output([1, 2])),
        (":*", output()),
    ],
)
def test_a_string_is_an_objective(text, meaning):
    found = as_objective(text)
    assert found.sites == meaning.sites
    np.testing.assert_array_equal(
        scores(found, ACTIVATIONS, LOGITS), scores(meaning, ACTIVATIONS, LOGITS)
    )


def test_a_range_has_both_ends():
    bound = bind(as_objective("site:0-8"), ACTIVATIONS)
    assert count_units(bound) == 9


def test_an_objective_is_one_already():
    objective = channel("site", 4) - 3
    assert as_objective(objective) is objective


@pytest.mark.parametrize(
    "text", ["site:", "site:x", "site:3:", "site:5-3", "site:1.5", "site:3,", "a:b"]
)
def test_what_is_no_index(text):
    with pytest.raises(ValueError, match=r"(?s)no index of a channel.*'0-511'") as info:
        as_objective(text)
    assert repr(text) in str(info.value)


def test_a_site_alone_leaves_open_what_is_meant():
    with pytest.raises(ValueError, match=r"(?s)'site:\*'.*`layer\('site'\)`"):
        as_objective("site")


@pytest.mark.parametrize("value", [3, None, ["site:1"], channel])
def test_what_is_no_objective(value):
    with pytest.raises(TypeError, match=r"(?s)objective was expected.*'Conv_0:3'"):
        as_objective(value)
