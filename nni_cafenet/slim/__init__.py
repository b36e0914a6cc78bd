"""Really smaller models: made, saved, loaded."""
