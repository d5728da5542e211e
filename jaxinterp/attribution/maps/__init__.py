"""Methods that make one map of the positions of an image or of a sequence."""
