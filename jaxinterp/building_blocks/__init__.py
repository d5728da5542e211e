"""What a layer sees, where, and what for: blocks that interfaces are made of.

An activation is a cube of positions and channels. The blocks cut it into positions,
channels or groups, and say of each part what it looks for (an image), how active it is,
or what it contributes to a score. `plot.activation_page` shows them.
"""

from jaxinterp.building_blocks.activation_grid import ActivationGrid as ActivationGrid
from jaxinterp.building_blocks.activation_grid import activation_grid as activation_grid
from jaxinterp.building_blocks.attribution import Contributions as Contributions
from jaxinterp.building_blocks.attribution import (
    GroupContributions as GroupContributions,
)
from jaxinterp.building_blocks.attribution import (
    channel_attribution as channel_attribution,
)
from jaxinterp.building_blocks.attribution import class_attribution as class_attribution
from jaxinterp.building_blocks.attribution import group_attribution as group_attribution
from jaxinterp.building_blocks.attribution import (
    spatial_attribution as spatial_attribution,
)
from jaxinterp.building_blocks.neuron_groups import Groups as Groups
from jaxinterp.building_blocks.neuron_groups import neuron_groups as neuron_groups
from jaxinterp.building_blocks.semantic_dictionary import Dictionary as Dictionary
from jaxinterp.building_blocks.semantic_dictionary import (
    semantic_dictionary as semantic_dictionary,
)
