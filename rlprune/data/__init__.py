"""Data sets: what the program makes itself, and loaders for the official formats."""
