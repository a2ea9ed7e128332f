"""Messages: bytes to packets and back; pure functions, one module per format."""
