"""The command `cdn-issuer`."""
