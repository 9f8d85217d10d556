"""Data sets of labelled images: one form on disk, import from the usual ones, and checks before anything learns."""
