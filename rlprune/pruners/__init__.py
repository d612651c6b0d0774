"""One method a file, named like its paper; the folder is the registry."""
