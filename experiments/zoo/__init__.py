"""Small networks, trained in minutes on tasks whose true explanation is known.

`load(name)` returns one of them, from the cache or after training it, and `names()`
says which there are. `python -m experiments.zoo` trains them all.
"""

from experiments.zoo.recipe import Trained as Trained
from experiments.zoo.shelf import load as load
from experiments.zoo.shelf import names as names
