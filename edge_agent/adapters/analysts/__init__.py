"""Language models that write: on this box in a child process, or on a server in the plant."""
