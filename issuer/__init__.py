"""cdn-issuer: an external issuer for cert-manager whose requests always end."""

__version__ = "0.1.0"
