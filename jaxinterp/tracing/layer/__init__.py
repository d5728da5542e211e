"""What a rule sees of a site while the model runs.

`layer` is the site with its arrays, `contraction` the convolution or matrix product at
the heart of an affine site, `max_pool` a fast derivative of max pooling.
"""
