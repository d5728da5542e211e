"""Pictures of explanations, with matplotlib; each function has a file of its name."""

from jaxinterp.plot.activation_page import activation_page as activation_page
from jaxinterp.plot.bars import bars as bars
from jaxinterp.plot.false_colors import false_colors as false_colors
from jaxinterp.plot.feature_page import feature_page as feature_page
from jaxinterp.plot.feature_sheet import feature_sheet as feature_sheet
from jaxinterp.plot.gallery import gallery as gallery
from jaxinterp.plot.heatmap import heatmap as heatmap
from jaxinterp.plot.heatmap import reduce_channels as reduce_channels
from jaxinterp.plot.image_grid import image_grid as image_grid
from jaxinterp.plot.masked_images import masked_images as masked_images
from jaxinterp.plot.save_gif import save_gif as save_gif
from jaxinterp.plot.save_images import save_images as save_images
from jaxinterp.plot.spritemap import spritemap as spritemap
from jaxinterp.plot.token_matrix import TokenMatrix as TokenMatrix
from jaxinterp.plot.token_matrix import token_matrix as token_matrix
from jaxinterp.plot.tokens import ColoredText as ColoredText
from jaxinterp.plot.tokens import tokens as tokens
