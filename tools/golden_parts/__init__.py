"""What `golden.py` freezes, a file a part."""
