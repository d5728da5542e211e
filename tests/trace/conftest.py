"""Fixtures of the tests of tracing."""

from tests.rules.conftest import unchecked as unchecked
