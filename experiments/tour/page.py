"""The page: questions, answers, pictures, and what they cannot tell, in one file."""

from __future__ import annotations

import base64
import html
import io
import re
import string
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

_PAGE = string.Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; color: #222; background: #fff;
  font: 17px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.8rem; margin: 1rem 0 0; line-height: 1.2; }
h2 { font-size: 1.4rem; margin: 3.5rem 0 .3rem; line-height: 1.25; }
nav ol { columns: 18rem; padding-left: 1.6rem; margin: .5rem 0; }
a { color: #1a5fb4; }
.answer { font-size: 1.15rem; font-weight: 600; margin: .3rem 0 1rem; }
.limits { border-left: 4px solid #c64600; padding: .1rem 1rem; color: #444; }
figure { margin: 1rem 0; }
figcaption { color: #555; font-size: .95rem; }
.wide { overflow-x: auto; }
img { display: block; max-width: 100%; height: auto; }
.wide img { max-width: none; width: max(100%, 44rem); }
table { border-collapse: collapse; font-size: .9rem; }
td, th { white-space: nowrap; padding: .2rem .6rem; text-align: left;
  border-bottom: 1px solid #ddd; }
details { color: #555; font-size: .85rem; }
pre { overflow-x: auto; background: #f5f5f5; padding: .7rem; line-height: 1.35; }
footer { margin: 4rem 0 1rem; color: #555; font-size: .9rem; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$lead</p>
<nav aria-label="Questions"><ol>
$links
</ol></nav>
$sections
<footer>$footer</footer>
</body>
</html>
""")


class Picture(NamedTuple):
    """Something to look at.

    Attributes:
        content: HTML: an image, a table or colored text.
        caption: what it shows, and how to read it.
        is_wide: whether it scrolls on a narrow screen instead of getting small.
    """

    content: str
    caption: str
    is_wide: bool = False

    @property
    def html(self) -> str:
        """The picture with its caption."""
        kind = ' class="wide"' if self.is_wide else ""
        return (
            f"<figure><div{kind}>{self.content}</div>"
            f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        )


class Section(NamedTuple):
    """A question and its answer.

    Attributes:
        answer: one plain sentence, or two.
        pictures: what shows it.
        limits: what the answer cannot tell.
    """

    answer: str
    pictures: Sequence[Picture]
    limits: str


class Answered(NamedTuple):
    """A section in its place on the page.

    Attributes:
        question: the heading.
        section: the answer.
        source: the code that made it.
        seconds: how long that took, compilation included.
    """

    question: str
    section: Section
    source: str
    seconds: float

    @property
    def anchor(self) -> str:
        """The address of the section on the page."""
        return re.sub(r"\W+", "-", self.question.lower()).strip("-")

    @property
    def html(self) -> str:
        """The section."""
        answer, pictures, limits = self.section
        return (
            f'<section id="{self.anchor}"><h2>{html.escape(self.question)}</h2>'
            f'<p class="answer">{html.escape(answer)}</p>'
            + "".join(picture.html for picture in pictures)
            + '<p class="limits"><b>What this cannot tell.</b> '
            + f"{html.escape(limits)}</p><details><summary>The code, "
            + f"{self.seconds:.0f} s</summary><pre>{html.escape(self.source)}</pre>"
            + "</details></section>"
        )


def drawing(figure: Figure, caption: str, *, is_wide: bool = False) -> Picture:
    """Returns a figure of matplotlib as a picture of the page.

    Args:
        figure: the figure.
        caption: what it shows, also for those who cannot see it.
        is_wide: whether it scrolls on a narrow screen.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, bbox_inches="tight")
    data = base64.b64encode(file.getvalue()).decode()
    source = f'<img alt="{html.escape(caption)}" src="data:image/png;base64,{data}">'
    return Picture(source, caption, is_wide)


def page(title: str, lead: str, answers: Sequence[Answered], footer: str) -> str:
    """Returns the whole page, which needs no other file.

    Args:
        title: the heading.
        lead: what the page is about.
        answers: the sections.
        footer: the last line.
    """
    links = "\n".join(
        f'<li><a href="#{one.anchor}">{html.escape(one.question)}</a></li>'
        for one in answers
    )
    text = _PAGE.substitute(
        title=html.escape(title),
        lead=html.escape(lead),
        links=links,
        sections="\n".join(one.html for one in answers),
        footer=html.escape(footer),
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")
