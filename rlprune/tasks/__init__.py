"""One task a file; the folder is the registry."""
