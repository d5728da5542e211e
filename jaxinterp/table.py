"""A table as aligned text, and as HTML for notebooks."""

from __future__ import annotations

import html
import math
from typing import Any


def format_table(
    head: tuple[str, ...], rows: list[tuple[str, ...]], right: tuple[int, ...] = ()
) -> str:
    """Returns rows of text as aligned columns under a rule.

    Args:
        head: the names of the columns.
        rows: the cells of each row.
        right: the numbers of the columns that are aligned at the right.

    Example:
        >>> print(format_table(("name", "n"), [("a", "1"), ("long", "23")], right=(1,)))
        name   n
        --------
        a      1
        long  23
    """
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: tuple[str, ...]) -> str:
        cells = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line(head), rule, *map(line, rows)])


def html_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Returns rows of text as an HTML table, for notebooks.

    Args:
        head: the names of the columns.
        rows: the cells of each row.

    Example:
        >>> html_table(("name",), [("a < b",)])
        '<table><thead><tr><th>name</th></tr></thead><tr><td>a &lt; b</td></tr></table>'
    """

    def cells(row: tuple[str, ...], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{cells(head, 'th')}</tr></thead>{body}</table>"


def cell(value: Any, form: str = ".2f", *, undefined: str = "none") -> str:
    """Returns a number as a cell of a table.

    Args:
        value: a number; NaN if it does not exist, `None` if there is nothing to show.
        form: the format of the number, as in an f-string: `".2f"`, or `","` for large
            integers.
        undefined: the text for NaN.

    Example:
        >>> cell(1.234), cell(1234567, ","), cell(None), cell(float("nan"))
        ('1.23', '1,234,567', '', 'none')
    """
    if value is None:
        return ""
    return undefined if math.isnan(value) else format(value, form)
