"""A griffe extension: `Example:` is rendered as code, as `Examples:` is.

griffe takes the singular for a note in Markdown, and would read `[[2.0]]` as a link.
"""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Gives the section of a docstring the name that griffe knows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Renames the section of one object."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", text)
