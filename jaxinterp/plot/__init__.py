"""Pictures of explanations, with matplotlib."""

from jaxinterp.plot.gallery import gallery as gallery
from jaxinterp.plot.heatmap import heatmap as heatmap
from jaxinterp.plot.heatmap import reduce_channels as reduce_channels
