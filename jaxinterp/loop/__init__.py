"""How a long computation runs: nothing else in the package spells a long loop.

- `sums`: the sum of a step over many points, such as those of a path.
- `steps`: a state through many steps, such as those of an optimization.
- `scan`: a loop inside of a compiled program.
- `chunks`: how many of many things are computed at once.
- `stream`: a state over a stream of batches; `top_k`, `histogram`: such states, for the
  best examples of a stream and for its moments and quantiles.
- `progress`: the progress bar of a long loop.
- `static`: which part of an argument is known when a program is compiled.
"""
