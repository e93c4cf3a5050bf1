"""What is seen from outside: metrics, logging, and the server for health and metrics."""
