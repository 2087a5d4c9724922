"""One image: opened safely, judged by its headers, decoded, rendered as the record stores it."""
