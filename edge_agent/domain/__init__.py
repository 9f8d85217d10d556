"""What things are. No I/O, no clock, no threads, no image library: values in, values out."""
