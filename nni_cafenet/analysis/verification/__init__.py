"""Real forwards that show which groups of a channel graph hold."""
