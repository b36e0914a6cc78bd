"""From a model and an example input to its channel groups and their cost.

The files in the order of the work: ``inputs`` (what the model is called with), ``constraints`` (which channels must
change together), ``rules`` (what each operator adds to that), ``trace`` (the operators of a model), ``grouping``
(constraints become groups and layouts), ``graph`` (the result), ``cost`` (MACs and parameters of any widths) and
``verify`` (real forwards that hold the result against the model).
"""
