"""What a task returns holds arrays, and is not mistaken for one."""

import builtins

import numpy as np
import pytest

from jaxinterp import data

RESULTS = [
    value
    for name in dir(data)
    if isinstance(value := getattr(data, name), type) and hasattr(value, "_fields")
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.__name__)
def test_no_field_can_be_mistaken_for_one_of_arrays_or_of_python(result):
    own = {name for name in vars(result) if not name.startswith("_")}
    assert own
    assert not own & (set(dir(np.ndarray)) | set(dir(builtins)))
