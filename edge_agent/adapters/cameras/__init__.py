"""Where frames come from; one file for each kind, imported only when a station asks for it."""
