"""How a kind of task learns."""
