"""What says that a part is in place; one file for each kind."""
