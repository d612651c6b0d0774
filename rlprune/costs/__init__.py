"""What a cell costs: time, memory, disk, energy; on which machine and by which commit."""
