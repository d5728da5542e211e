"""An mkdocs hook: the site needs no network, and says so if it would.

MathJax comes from a package of the extra `docs`, `django-static-mathjax`, which brings
its files to PyPI. It is copied into the site, with its license.
"""

import re
from importlib import resources
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

FOLDER = "javascripts/mathjax"
PROGRAM = "tex-chtml.js"
# Its fonts, and the commands of TeX that it loads when one is used.
PARTS = ("output/chtml/fonts/woff-v2", "input/tex/extensions")
FETCHED = re.compile(
    r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?https?://[^>]*"
)


def shipped() -> dict[str, Path]:
    """The files of MathJax, by their paths in the site."""
    root = Path(str(resources.files("mathjax"))) / "static" / "mathjax"
    paths = [root / "LICENSE", root / "es5" / PROGRAM]
    paths += (path for part in PARTS for path in (root / "es5" / part).iterdir())
    # A script finds what it loads beside itself, in the folder that holds them all.
    names = (path.relative_to(root).as_posix().removeprefix("es5/") for path in paths)
    return {
        f"{FOLDER}/{n}": p for n, p in zip(names, paths, strict=True) if p.is_file()
    }


def on_files(files: Any, *, config: Any, **_: Any) -> Any:
    """Adds MathJax to the files of the site."""
    for uri, path in shipped().items():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Raises if a page would load something from elsewhere."""
    if fetched := FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from the network: {fetched[0]}")
    return output
