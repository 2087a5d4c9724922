"""Tables as people keep them, in the formats that they come in."""
