"""The site ships what it needs, and a page that would fetch something is an error."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HOOK = Path(__file__).resolve().parents[1] / "docs" / "offline.py"
PAGE = SimpleNamespace(file=SimpleNamespace(src_uri="index.md"))


@pytest.fixture
def offline() -> Any:
    """The hook, which needs what the extra `docs` brings."""
    for package in ("mkdocs", "mathjax"):
        pytest.importorskip(package, reason="the extra `docs` is not installed")
    spec = importlib.util.spec_from_file_location("offline", HOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mathjax_is_shipped_with_its_fonts_and_its_license(offline: Any) -> None:
    files = offline.shipped()
    text = (HOOK.parents[1] / "mkdocs.yml").read_text("utf-8")
    assert "  - javascripts/mathjax/tex-chtml.js" in text
    assert "javascripts/mathjax/tex-chtml.js" in files
    assert "javascripts/mathjax/input/tex/extensions/boldsymbol.js" in files
    fonts = [name for name in files if "/output/chtml/fonts/woff-v2/" in name]
    assert len(fonts) > 10
    license_text = files["javascripts/mathjax/LICENSE"].read_text("utf-8")
    assert "Apache License" in license_text


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://example.org/a.js"></script>',
        '<img alt="a" src=http://example.org/a.png>',
        '<link href="https://example.org/a.css" rel="stylesheet">',
    ],
)
def test_a_page_that_fetches_something_is_an_error(offline: Any, page: str) -> None:
    with pytest.raises(offline.PluginError, match=r"index\.md loads from the network"):
        offline.on_post_page(page, page=PAGE)


def test_links_and_local_files_are_none(offline: Any) -> None:
    page = '<a href="https://example.org">a</a><script src="../a.js"></script>'
    assert offline.on_post_page(page, page=PAGE) == page
