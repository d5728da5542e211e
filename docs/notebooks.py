"""An mkdocs hook: a page for each notebook, with what it showed when it was executed.

Nothing is executed here, so that the site is built in seconds. The outputs are those of
the copies that `notebooks/run_all.py` left in `notebooks/executed`, if they are copies
of the notebooks as they are now; without, a page has the code and says where its
pictures come from. Folded cells are folded on the page, too.
"""

import base64
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
PAGES = "notebooks"  # the folder on the site
NOT_EXECUTED = """\
!!! note "Without outputs"

    This notebook was not executed when the site was built. For its pictures, run
    `python notebooks/run_all.py` and then `mkdocs build`.
"""
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
TITLE = re.compile(r"# @title (.*)\n")


def on_files(files: Files, *, config: Any, **_: Any) -> Files:
    """Adds the pages, and the pictures on them."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        text, pictures = page(path)
        files.append(File.generated(config, f"{PAGES}/{path.stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"{PAGES}/{name}", content=content))
    return files


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook in Markdown, and the files of its pictures by name.

    Args:
        path: the notebook, which is stored without outputs.
    """
    notebook = nbformat.read(path, as_version=4)
    copy = executed_copy(path, notebook)
    parts, pictures = [], {}
    for cell in (copy or notebook).cells:
        if cell.cell_type == "markdown":
            links = cell.source.replace(".ipynb)", ".md)")
            parts.append(links.replace("](../docs/", "](../"))
        elif cell.cell_type == "code":
            parts.append(code(cell))
            outputs = joined(cell.outputs)
            parts += [shown(output, path.stem, pictures) for output in outputs]
    if copy is None:
        parts.insert(1, NOT_EXECUTED)
    return "\n\n".join(filter(None, parts)) + "\n", pictures


def executed_copy(path: Path, notebook: Any) -> Any:
    """The executed copy of a notebook, or `None` if there is none of these cells."""
    place = path.parent / "executed" / path.name
    if not place.exists():
        return None
    copy = nbformat.read(place, as_version=4)
    sources = ([cell.source for cell in book.cells] for book in (notebook, copy))
    return copy if len({tuple(cells) for cells in sources}) == 1 else None


def code(cell: Any) -> str:
    """The code of a cell; a cell that is folded in the notebook opens on a click."""
    source = re.sub(r"(?m)^%.*\n", "", cell.source)
    fenced = f"```python\n{TITLE.sub('', source, count=1)}\n```"
    if not cell.metadata.get("jupyter", {}).get("source_hidden"):
        return fenced
    title = TITLE.match(source)
    return f'??? quote "{title[1] if title else "Code"}"\n\n{indented(fenced)}'


def joined(outputs: list[Any]) -> list[Any]:
    """The outputs without warnings and progress bars, and what is printed as one."""
    result: list[Any] = []
    for output in outputs:
        is_stream = output.output_type == "stream"
        if is_stream and output.name != "stdout":
            continue
        if is_stream and result and result[-1].output_type == "stream":
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def shown(output: Any, name: str, pictures: dict[str, bytes]) -> str:
    """An output of a cell in Markdown; its picture is added to the files.

    Args:
        output: the output, as nbformat reads it.
        name: what the files of the notebook's pictures begin with.
        pictures: the files so far, by name.
    """
    if output.output_type == "stream":
        return text(output.text)
    data = output.get("data", {})
    if "image/png" in data:
        file = f"{name}_{len(pictures)}.png"
        pictures[file] = base64.b64decode(data["image/png"])
        return f"![What the cell draws]({file})"
    if "text/html" in data:
        # A blank line would end the block of HTML.
        lines = [line for line in data["text/html"].splitlines() if line.strip()]
        return "\n".join(['<div class="output">', *lines, "</div>"])
    return text(data["text/plain"]) if "text/plain" in data else ""


def text(printed: str) -> str:
    """What a cell printed, as a block without colors."""
    return f"```text\n{ESCAPES.sub('', printed).rstrip()}\n```"


def indented(block: str) -> str:
    """A block as the content of another."""
    return "\n".join(f"    {line}" if line else "" for line in block.splitlines())
