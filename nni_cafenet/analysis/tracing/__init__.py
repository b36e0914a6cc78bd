"""The operators of a model, in the order in which they run."""
