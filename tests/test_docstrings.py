"""What the site makes of the sections of a docstring, and of the formulas in it."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "api").rglob("*.md"))
MODULES = sorted((ROOT / "jaxinterp").rglob("*.py"))
TEXT = '''
def double(x: float) -> float:
    """Doubles.

    Returns:
        Twice `x`, in the units of `x`: a larger
        number.

    Example:
        >>> [[2.0]]
    """
'''


def test_the_type_of_what_is_returned_is_that_of_the_signature(tmp_path: Path) -> None:
    griffe = pytest.importorskip("griffe", reason="the extra `docs` is not installed")
    path = ROOT / "docs" / "docstrings.py"
    spec = importlib.util.spec_from_file_location("docstrings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "doubling.py").write_text(TEXT)
    package = griffe.load(
        "doubling",
        search_paths=[tmp_path],
        extensions=griffe.load_extensions(module.Sections),
    )
    options = {"returns_named_value": False, "returns_multiple_items": False}
    sections = package["double"].docstring.parse("google", **options)
    returned = sections[1].value[0]
    assert str(returned.annotation) == "float"
    assert returned.description == "Twice `x`, in the units of `x`: a larger\nnumber."
    assert sections[2].kind is griffe.DocstringSectionKind.examples


def test_formulas_on_lines_of_their_own_are_apart() -> None:
    # Markdown takes two without a blank line between them for one.
    adjacent = re.compile(r"\$\$\n *\$\$")
    texts = {path: path.read_text("utf-8") for path in (*MODULES, *PAGES)}
    assert texts
    assert [str(path) for path, text in texts.items() if adjacent.search(text)] == []


def test_objects_stand_under_a_heading_of_the_second_level() -> None:
    # Their own headings are of the third.
    heads = {path: path.read_text("utf-8").split("\n::: ") for path in PAGES}
    objects = {path: head for path, (head, *rest) in heads.items() if rest}
    assert objects
    assert [str(path) for path, head in objects.items() if "\n## " not in head] == []
