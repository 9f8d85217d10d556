"""Teaching from good images only: what is normal is learned, what differs from it is reported."""
