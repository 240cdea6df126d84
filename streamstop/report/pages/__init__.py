"""HTML pages: of a run, of several seeds, of a comparison, of a training."""
