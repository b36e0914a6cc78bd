"""Choosing widths under a budget: the budget, sampling inside it, and searchers that say what to score."""
