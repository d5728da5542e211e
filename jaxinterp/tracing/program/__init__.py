"""A traced function as a flat list of equations, and how it is evaluated."""
