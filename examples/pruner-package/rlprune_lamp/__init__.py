"""A pruner and a task for rlprune, in a package of their own."""
