"""How well it learns: accuracy, learning rules, changing streams, simulated sets."""
