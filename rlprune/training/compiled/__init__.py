"""What a fleet computes on a CPU, compiled by Numba: networks, games and noise, one agent after another."""
