"""Event cameras in, a spiking network that learns while it watches, an honest score out."""

__version__ = "0.1.0"
