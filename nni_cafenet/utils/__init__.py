"""Files, checks of options, units, tables, random states: used by every room, know nothing of this package."""
