"""The networks that tasks train, each with its anatomy."""
