"""This process and its peers: how it starts, hears signals, finds the others and ends."""
