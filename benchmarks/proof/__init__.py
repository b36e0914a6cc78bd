"""The pieces of better_widths.py: the task, the arms that propose widths, and the figures."""
