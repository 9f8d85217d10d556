"""What acts on the part: PLC handshake, reject gate; one file for each kind."""
