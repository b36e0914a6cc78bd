"""Models, weights and code named on the command line."""
