"""A traced function as a flat list of equations, and how it runs again.

`program` is the list, `flatten` makes it from a jaxpr, and `evaluate` runs it while it
captures or replaces values. What happens in a `scan`, `while` or `cond` is in `loops`.
"""
