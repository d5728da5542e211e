"""Pictures of explanations, with matplotlib."""

from jaxinterp.plot.feature_page import feature_page as feature_page
from jaxinterp.plot.gallery import gallery as gallery
from jaxinterp.plot.heatmap import heatmap as heatmap
from jaxinterp.plot.heatmap import reduce_channels as reduce_channels
from jaxinterp.plot.masked_pictures import masked_pictures as masked_pictures
from jaxinterp.plot.pictures import false_colors as false_colors
from jaxinterp.plot.pictures import feature_sheet as feature_sheet
from jaxinterp.plot.pictures import picture_grid as picture_grid
from jaxinterp.plot.pictures import spritemap as spritemap
from jaxinterp.plot.save_gif import save_gif as save_gif
from jaxinterp.plot.save_images import save_images as save_images
