"""One module per kind of certificate authority, and the protocol and errors that they share."""
