"""The commands, one per file. Heavy packages are imported only when a command runs."""
