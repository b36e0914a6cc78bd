"""Objects that reach other processes: remembered as the call that made them, or kept in files."""
