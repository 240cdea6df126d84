"""Views of a run in progress: in the terminal and in a browser, functions of its snapshots."""
