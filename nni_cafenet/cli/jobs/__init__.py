"""Whole jobs out of a configuration: prune a trained network, search one from scratch, train what was found."""
