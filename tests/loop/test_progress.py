"""Only a long loop that has a name shows its progress."""

import pytest

from jaxinterp.loop.progress import FEWEST_STEPS, progress_bar


@pytest.mark.parametrize(
    ("total", "name", "options", "is_shown"),
    [
        (FEWEST_STEPS, "a loop", {}, True),
        (FEWEST_STEPS - 1, "a loop", {}, False),
        (FEWEST_STEPS, "", {}, False),
        (FEWEST_STEPS, "a loop", {"is_shown": False}, False),
    ],
)
def test_a_bar_is_shown_where_it_is_worth_it(total, name, options, is_shown, capsys):
    with progress_bar(total, name, **options) as bar:
        bar.update(total)
    assert (name in capsys.readouterr().err and bool(name)) == is_shown
