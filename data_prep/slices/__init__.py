"""Which slices of a series show which disc."""
