"""An mkdocs hook: makes `[key]` a link, and a page of `references.bib`.

A citation is written `[bach2015pixel]`, in pages and docstrings alike. A key that the
bibliography lacks is left as it is; `tests/test_public.py` fails on it.
"""

import html
import re
from pathlib import Path
from typing import Any

BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
PLACE = "<!-- bibliography -->"
ENTRY = re.compile(r"^@\w+\{(\w+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^\s*(\w+) = \{(.*)\},?$", re.MULTILINE)
CITATION = re.compile(r"\[([a-z]+\d{4}[a-z]+)\]")


def read() -> dict[str, dict[str, str]]:
    """The bibliography by key, without the braces that protect capitals from TeX."""
    entries = ENTRY.findall(BIBLIOGRAPHY.read_text("utf-8"))
    return {
        key: {name: re.sub("[{}]", "", text) for name, text in FIELD.findall(body)}
        for key, body in entries
    }


def item(key: str, entry: dict[str, str]) -> str:
    """One entry as an item of a Markdown list, with the key as its anchor."""
    authors = entry["author"].replace(" and ", ", ")
    venues = (entry.get(kind) for kind in ("journal", "booktitle", "institution"))
    venue = next((f" *{venue}*." for venue in venues if venue), "")
    words = [f"{authors} ({entry['year']}). **{entry['title']}**.{venue}"]
    if number := entry.get("eprint"):
        words.append(f"[arXiv:{number}](https://arxiv.org/abs/{number})")
    elif number := entry.get("doi"):
        words.append(f"[doi:{number}](https://doi.org/{number})")
    elif address := entry.get("url"):
        words.append(f"<{address}>")
    return f'- <span id="{key}">`{key}`</span> {" ".join(words)}'


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fills the page that has the place for it."""
    items = (item(key, entry) for key, entry in sorted(read().items()))
    return markdown.replace(PLACE, "\n".join(items)) if PLACE in markdown else markdown


def on_page_content(content: str, *, page: Any, files: Any, **_: Any) -> str:
    """Links the citations of a rendered page."""
    known = read()
    target = files.get_file_from_path("references.md").url_relative_to(page.file)

    def link(match: re.Match[str]) -> str:
        key = match[1]
        if key not in known:
            return match[0]
        title = html.escape(known[key]["title"])
        return f'[<a href="{target}#{key}" title="{title}">{key}</a>]'

    return CITATION.sub(link, content)
