"""A spiking network that carries its gradients forward in time: STOP, with BPTT as oracle."""
