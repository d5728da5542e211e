"""The tables of `docs/api` name every public object, with the parameters it has."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[1] / "docs" / "api"
ROW = re.compile(r"^\| `(\w+)(?:\((.*?)\))?` \|", re.MULTILINE)
MODULES = {
    name: f"jaxinterp.{name}"
    for name in (
        *("rules", "objectives", "attribution", "metrics", "featurevis", "models"),
        *("data", "plot", "adversarial", "concepts", "influence", "labels"),
        *("mechanistic", "perturbation", "building_blocks", "trust"),
    )
} | {"tracing": "jaxinterp"}


def files(page: str) -> list[Path]:
    """The file of a page, or those of its folder."""
    return sorted((PAGES / page).glob("*.md")) or [PAGES / f"{page}.md"]


def rows(page: str) -> dict[str, str | None]:
    """The parameters that a page gives for each of its objects, if it gives any."""
    text = "\n".join(path.read_text("utf-8") for path in files(page))
    return {match[1]: match[2] for match in ROW.finditer(text)}


def parameters(value: object) -> str:
    """The parameters of a function or class, without defaults and annotations."""
    names: list[str] = []
    for parameter in inspect.signature(value).parameters.values():
        is_named = parameter.kind is parameter.KEYWORD_ONLY
        if is_named and not any(name.startswith("*") for name in names):
            names.append("*")
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        names.append(stars.get(parameter.kind, "") + parameter.name)
    return ", ".join(names)


@pytest.mark.parametrize("page", MODULES)
def test_signatures_are_those_of_the_code(page: str) -> None:
    module = importlib.import_module(MODULES[page])
    listed = rows(page)
    assert listed
    for name, written in listed.items():
        if written is not None:
            assert written == parameters(getattr(module, name)), name


@pytest.mark.parametrize("page", MODULES)
def test_every_public_name_is_mentioned_in_code_style(page: str) -> None:
    module = importlib.import_module(MODULES[page])
    texts = [path.read_text("utf-8") for path in sorted(PAGES.rglob("*.md"))]
    named = set(re.findall(r"`(?:\w+\.)*(\w+)(?:\([^`]*\))?`", "\n".join(texts)))
    public = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", "").startswith("jaxinterp")
    ]
    assert not sorted(set(public) - named)
