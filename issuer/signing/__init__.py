"""The failover engine: time budget, retry, circuit breaker, limits, order of authorities."""
