"""Only a long loop that has a name shows its progress."""

import pytest

from jaxinterp.loop.progress import SHOWN, progress_bar


@pytest.mark.parametrize(
    ("total", "name", "options", "is_shown"),
    [
        (SHOWN, "a loop", {}, True),
        (SHOWN - 1, "a loop", {}, False),
        (SHOWN, "", {}, False),
        (SHOWN, "a loop", {"is_shown": False}, False),
    ],
)
def test_a_bar_is_shown_where_it_is_worth_it(total, name, options, is_shown, capsys):
    with progress_bar(total, name, **options) as bar:
        bar.update(total)
    assert (name in capsys.readouterr().err and bool(name)) == is_shown
