"""Certificate signing requests and certificates: parse, check, verify, match. Pure: bytes in, values out."""
