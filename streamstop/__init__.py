"""Event cameras in, a spiking network that learns while it watches, an honest score out."""

from streamstop._version import __version__ as __version__
