"""Prune a trained model under a budget."""
