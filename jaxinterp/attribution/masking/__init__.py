"""Methods that take parts of an input away, and need no derivative."""
