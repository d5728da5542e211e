"""The models of the zoo, one file an architecture."""
