"""What a failed call is taken for; the messages are in `tests/test_mistakes.py`."""

import numpy as np

from jaxinterp.tracing.mistakes import binds, misplaced


def test_a_number_as_variables_is_no_batch_in_the_wrong_place():
    several = {"a": np.zeros((2, 3)), "b": np.zeros(5)}
    assert misplaced(np.array(0.5), several) is None
    assert misplaced(np.array(0.5), np.array(1)) is None
    assert misplaced([0.5, 1.0], several) is None
    assert "the two were swapped" in (misplaced(np.zeros((4, 2)), several) or "")
    assert "were left out" in (misplaced(np.zeros((4, 2)), np.zeros(4, int)) or "")


def test_how_many_arguments_a_function_takes():
    assert binds(lambda w: w, 1)
    assert not binds(lambda w: w, 2)
    assert binds(lambda *args: args, 7)
    assert not binds(lambda *, w: w, 1)
