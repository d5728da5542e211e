"""A table as aligned text, and as HTML for notebooks."""

from __future__ import annotations

import html
from typing import Any

import numpy as np


def format_table(
    head: tuple[str, ...], rows: list[tuple[str, ...]], right: tuple[int, ...] = ()
) -> str:
    """Returns rows of text as aligned columns under a rule.

    Args:
        head: names of the columns.
        rows: their cells.
        right: the columns that are aligned at the right.
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
        head: names of the columns.
        rows: their cells.
    """

    def cells(row: tuple[str, ...], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{cells(head, 'th')}</tr></thead>{body}</table>"


def cell(value: Any, digits: int = 2) -> str:
    """Returns a number as a cell of a table.

    Args:
        value: a number; NaN if it does not exist, `None` if it was not asked for.
        digits: after the point.
    """
    if value is None or np.isnan(value):
        return "" if value is None else "none"
    return f"{float(value):.{digits}f}"
