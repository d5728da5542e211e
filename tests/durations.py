"""After a run of tests: the slowest ones, and what each folder took."""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

N_SLOWEST = 30
LEAST_SECONDS = 1.0  # a shorter test is not listed


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table."""
    if table := list(lines(seconds_by_test(terminalreporter))):
        terminalreporter.section("time")
        terminalreporter.write_line("\n".join(table))
