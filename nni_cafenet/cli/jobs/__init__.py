"""Whole jobs from a configuration: prune a trained network, search one from scratch, train the networks found."""
