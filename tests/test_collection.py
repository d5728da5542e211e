"""What the tests' own `conftest.py` leaves out, and what it prints in the end."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest, durations


def item(name: str, *marks: pytest.MarkDecorator) -> Any:
    """A test as the hook sees it."""

    def iter_markers(name: str | None = None) -> list[pytest.Mark]:
        return [m.mark for m in marks if name in (None, m.mark.name)]

    def add_marker(mark: pytest.MarkDecorator) -> None:
        nonlocal marks
        marks += (mark,)

    return SimpleNamespace(
        nodeid=name, iter_markers=iter_markers, add_marker=add_marker
    )


SLOW = pytest.mark.slow(reason="trains a network")


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("", ["quick"]),
        ("slow", ["quick", "slow"]),
        ("not slowest", ["quick"]),
        ("slow or not slow", ["quick", "slow"]),
        ("peers and not slow", ["quick", "slow", "peer"]),
    ],
)
def test_what_is_not_named_is_left_out(expression: str, names: list[str]) -> None:
    left_out: list[Any] = []
    config: Any = SimpleNamespace(
        getoption=lambda _: expression,
        hook=SimpleNamespace(pytest_deselected=lambda items: left_out.extend(items)),
    )
    items = [item("quick"), item("slow", SLOW), item("peer", pytest.mark.peers)]
    conftest.pytest_collection_modifyitems(config, items)
    assert [one.nodeid for one in items] == names
    assert len(items) + len(left_out) == 3


@pytest.mark.parametrize(
    "mark",
    [pytest.mark.slow, pytest.mark.slow(reason=""), pytest.mark.slow("a reason")],
)
def test_a_slow_test_says_why(mark: pytest.MarkDecorator) -> None:
    with pytest.raises(pytest.UsageError, match=r"(?s)slow\(reason=.*tests/a.py::b"):
        conftest.pytest_collection_modifyitems(
            SimpleNamespace(), [item("tests/a.py::b", mark)]
        )


def test_of_many_cases_a_few_stay_and_say_why_the_others_do_not() -> None:
    one = [item("tests/a.py::one")]
    few = [item(f"tests/a.py::few[{i}]") for i in range(2)]
    many = [item(f"tests/a.py::many[{i}]") for i in range(50)]
    chosen = [item(f"tests/a.py::chosen[{i}]", SLOW) for i in range(9)]
    peers = [item(f"tests/a.py::peers[{i}]", pytest.mark.peers) for i in range(9)]
    conftest.leave_a_few_cases([*one, *few, *many, *chosen, *peers])

    def n_slow(items: list[Any]) -> int:
        return sum(1 for one in items if list(one.iter_markers("slow")))

    counts = [n_slow(items) for items in (one, few, many, chosen, peers)]
    assert counts == [0, 1, 48, 9, 0]
    assert not any(map(conftest.lacks_a_reason, many))


def test_what_took_long_is_left_out_and_a_new_measurement_replaces_an_old_one() -> None:
    name = next(iter(durations.SLOW.read_text().split()))
    items = [item(name), item(f"{name}[a case]"), item("tests/a.py::quick")]
    conftest.leave_what_took_long(items)
    assert [len(list(one.iter_markers("slow"))) for one in items] == [1, 1, 0]
    assert not any(map(conftest.lacks_a_reason, items))

    seconds = Counter({"a.py::one[x]": 1.0, "a.py::one[y]": 3.5, "a.py::two": 0.5})
    before = {"a.py::two", "b.py::not_measured"}
    assert durations.long_ones(seconds, before) == {"a.py::one", "b.py::not_measured"}


def test_the_list_of_what_took_long_names_tests_that_exist() -> None:
    names = durations.SLOW.read_text().split()
    assert names == sorted(set(names))
    gone = []
    for name in names:
        file, _, function = name.partition("::")
        path = durations.SLOW.parents[1] / file
        if not path.exists() or f"def {function}(" not in path.read_text():
            gone.append(name)
    assert not gone, "take them out of tests/slow.txt, or name them anew"


def test_the_table_has_the_slowest_tests_and_every_folder() -> None:
    seconds = Counter(
        {
            "tests/rules/test_a.py::one": 2.0,
            "tests/rules/test_a.py::two[a/b]": 0.5,
            "tests/featurevis/optimize/deeper/test_b.py::three": 3.0,
        }
    )
    assert list(durations.lines(seconds)) == [
        "seconds  the slowest 2 of 3 tests",
        "    3.0  tests/featurevis/optimize/deeper/test_b.py::three",
        "    2.0  tests/rules/test_a.py::one",
        "seconds  tests  folder",
        "    3.0      1  tests/featurevis/optimize",
        "    2.5      2  tests/rules",
    ]
    assert not list(durations.lines(Counter({"tests/test_c.py::four": 0.1})))
