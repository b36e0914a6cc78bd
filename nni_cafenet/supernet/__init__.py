"""From a width space to a trained supernet.

The files in the order of the work: ``sharing`` (which channels stand for a width), ``data`` (what is trained on, and what
is held out for scores), ``randomness`` and ``isolation`` (what a losing channel set must not leave behind),
``lightning`` (min-min training), and ``batch_norm`` (running statistics of one width).
"""
