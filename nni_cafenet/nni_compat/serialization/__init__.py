"""Serialization for trial processes: constructor records, pickled arguments, stored tensors."""
