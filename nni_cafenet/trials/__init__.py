"""The stages of a run as NNI trials: what they do in their processes, and how the main process runs them."""
