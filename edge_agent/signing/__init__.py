"""Ed25519 keys and detached signatures (JWS): who said this, and has nobody changed it since?

Knows bytes only. What is signed, and what happens without a signature, is decided above: messages in ``contract``,
files in the commands that make them. All cryptography is the `cryptography` package's.
"""
