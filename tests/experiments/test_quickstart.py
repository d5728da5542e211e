"""The quickstart, made small: what it prints, what it writes, what its numbers mean."""

from pathlib import Path

import numpy as np
import pytest

from experiments.quickstart import __main__ as quickstart
from experiments.quickstart import explain, table
from experiments.quickstart.config import Config

SMALL = Config(explained=8, samples=4, at_once=2)


@pytest.mark.slow(reason="explains a network with every method")
def test_it_prints_every_method_and_draws_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracy = quickstart.run(SMALL, tmp_path / "new")
    printed = capsys.readouterr().out
    for name in explain.methods(lambda v, x: x, SMALL):
        assert name.replace("\n", " ") in printed
    assert accuracy > 0.8
    assert "coverage 1.000" in printed
    assert "nan" not in printed
    assert (tmp_path / "new" / "quickstart.png").stat().st_size > 50_000


def test_the_sum_error_is_relative_to_what_is_expected() -> None:
    attributions = np.array([[[1.0], [2.0]], [[-3.0], [1.0]]])
    assert table.sum_error(attributions, np.array([3.0, -2.0])) == 0.0
    found = table.sum_error(attributions, np.array([4.0, -4.0]))
    assert found == pytest.approx((1 + 2) / (4 + 4))


def test_likeness_compares_ranks_of_magnitudes() -> None:
    a = np.array([[1.0, -2.0, 3.0], [3.0, 1.0, -2.0]])
    assert table.likeness(a, -(a**3)) == pytest.approx(1.0)
    assert table.likeness(a[:1], a[:1, ::-1]) == pytest.approx(-1.0)
