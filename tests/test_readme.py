"""What the README shows is what happens: its Python blocks run."""

import re

import pytest

from tests.pages import BLOCK, ROOT, check_examples, examples

README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.slow(reason="explains and visualizes in a process of its own")
def test_its_examples_run_and_print_what_they_show() -> None:
    assert len(examples(README)) >= 4
    check_examples(README)


def test_its_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    local = [link for link in links if "://" not in link]
    assert len(local) >= 5
    missing = [link for link in local if not (ROOT / link).exists()]
    assert not missing, missing


def test_the_two_commands_are_those_of_the_promise() -> None:
    commands = [code.strip() for kind, code in BLOCK.findall(README) if kind == "bash"]
    assert commands == [
        "pip install -e . && python -m experiments.tour",
        'pip install -e ".[test]" && pytest',
    ]
