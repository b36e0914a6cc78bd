"""What a run does, stage by stage, in whatever process it does it: train the supernet, score widths, train finalists."""
