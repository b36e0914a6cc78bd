"""Run or read a part of a model: from channel sets to slices of its tensors."""
