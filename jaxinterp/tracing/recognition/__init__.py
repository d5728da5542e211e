"""From equations to nodes: what groups of equations are, and what they are called."""
