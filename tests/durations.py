"""What tests take: a table after each run, and the list of those that took long.

`slow.txt` names the functions of tests, one a line, that the default selection leaves
out because their cases took more than a second and a half on average, on two slow cores
and with nothing compiled before. What a run with `--write-slow` measures replaces what
the list says of the same functions.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from statistics import mean

import pytest

N_SLOWEST = 30
LEAST_SECONDS = 1.0  # a shorter test is not in the table
MOST_SECONDS = 1.5  # a longer one is left out unless `-m` names `slow`
SLOW = Path(__file__).parent / "slow.txt"


def seconds_by_test(reporter: pytest.TerminalReporter) -> Counter[str]:
    """Returns what each test took, with its fixtures."""
    seconds: Counter[str] = Counter()
    for reports in reporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid] += report.duration
    return seconds


def folder_of(test: str) -> str:
    """Returns the folder of a test, at most two below that of all."""
    folders = PurePosixPath(test.partition("::")[0]).parent.parts
    return "/".join(folders[:3])


def lines(seconds: Counter[str]) -> Iterator[str]:
    """Returns the table."""
    slowest = [
        pair for pair in seconds.most_common(N_SLOWEST) if pair[1] >= LEAST_SECONDS
    ]
    if slowest:
        yield f"seconds  the slowest {len(slowest)} of {len(seconds)} tests"
        yield from (f"{value:7.1f}  {test}" for test, value in slowest)
    folders: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for test, value in seconds.items():
        folders[folder_of(test)] += value
        counts[folder_of(test)] += 1
    if len(folders) > 1:
        yield "seconds  tests  folder"
        for folder, value in folders.most_common():
            yield f"{value:7.1f}  {counts[folder]:5d}  {folder}"


def function_of(test: str) -> str:
    """Returns the name of a test without that of its case."""
    return test.partition("[")[0]


def long_ones(seconds: Counter[str], before: set[str]) -> set[str]:
    """Returns what `slow.txt` has to name.

    Args:
        seconds: what each test of this run took.
        before: what it names so far.
    """
    cases: dict[str, list[float]] = defaultdict(list)
    for test, value in seconds.items():
        cases[function_of(test)].append(value)
    long = {name for name, took in cases.items() if mean(took) > MOST_SECONDS}
    return before - cases.keys() | long


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the switch."""
    parser.addoption(
        "--write-slow",
        action="store_true",
        help="write to tests/slow.txt which tests of this run took long",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table."""
    seconds = seconds_by_test(terminalreporter)
    if table := list(lines(seconds)):
        terminalreporter.section("time")
        terminalreporter.write_line("\n".join(table))
    if terminalreporter.config.getoption("write_slow"):
        names = long_ones(seconds, set(SLOW.read_text().split()))
        SLOW.write_text("".join(f"{name}\n" for name in sorted(names)))
