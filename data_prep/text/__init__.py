"""Reports: their table, what must not leave in them, and the vocabulary they make."""
