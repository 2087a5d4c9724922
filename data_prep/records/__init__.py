"""What a record of a data set is, what belongs to it, and what is left out, by name and code."""
