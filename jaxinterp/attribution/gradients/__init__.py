"""Attribution by gradients: at the input, along a path, under noise."""
