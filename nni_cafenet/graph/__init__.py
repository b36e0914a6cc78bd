"""What the analysis of a model finds, as data: channel groups, layouts, attributes, costs."""
