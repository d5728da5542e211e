"""A griffe extension: sections of a docstring are read as they are written here.

`Example:` is rendered as code, as `Examples:` is; griffe takes the singular for a note
in Markdown, and would read `[[2.0]]` as a link. What is returned has its type in the
signature; griffe would take the words before a colon for a type.
"""

import re
from typing import Any

import griffe


class Sections(griffe.Extension):
    """Rewrites the sections that griffe reads otherwise."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of one object."""
        if obj.docstring is not None:
            text = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
            # No words before the first colon: the type is that of the signature.
            obj.docstring.value = re.sub(r"(?m)^Returns:\n +", r"\g<0>: ", text)
