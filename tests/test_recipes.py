"""The recipes, and the page on transformers, run as a reader runs them."""

import re
from pathlib import Path

import pytest

from tests.pages import ROOT, check_examples, examples

PAGE = (ROOT / "docs" / "recipes.md").read_text("utf-8")
MAX_LINES = 10
WIDEST = 88


@pytest.mark.slow(reason="trains five small networks, and explains them")
def test_they_run_and_print_what_they_show(tmp_path: Path) -> None:
    check_examples(PAGE, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"heatmap.png", "methods.png"}


def test_there_are_thirteen_of_at_most_ten_lines() -> None:
    _, *recipes = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    assert len(recipes) == 13
    for recipe in recipes:
        ((code, _),) = examples(recipe)
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= MAX_LINES, recipe
        assert max(map(len, lines)) <= WIDEST, recipe


@pytest.mark.slow(reason="compiles relevance for two networks, in another process")
def test_the_page_on_transformers_prints_what_it_shows(tmp_path: Path) -> None:
    check_examples((ROOT / "docs" / "transformers.md").read_text("utf-8"), tmp_path)
