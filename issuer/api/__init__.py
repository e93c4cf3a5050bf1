"""What the Kubernetes objects mean: requests, issuers, conditions, durations. Pure: no clock, no network."""
