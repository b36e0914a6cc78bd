"""NNI 3.0 on a current stack: its faults, patched one a file, and objects on their way to its trials."""
