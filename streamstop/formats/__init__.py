"""Event file formats: detect, read, write; one sub-package per family."""
