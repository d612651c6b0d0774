"""A sweep: a suite file to cells, cells to workers, what they found to the store."""
