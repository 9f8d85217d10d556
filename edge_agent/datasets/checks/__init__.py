"""What can be wrong with a data set: each module looks for one kind of thing."""
