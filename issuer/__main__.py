"""`python -m issuer` is `cdn-issuer`."""

from issuer.cli.main import main

main()
