"""What a run can stream from: a file, a folder, a named data set, a live source."""
