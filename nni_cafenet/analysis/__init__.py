"""From a model and an example input to its channel graph."""
