"""HDF5 layouts of events: DSEC, Metavision, rpg, MVSEC."""
