"""Results as people read them: tables and plots. Plain values come in, text goes out."""
