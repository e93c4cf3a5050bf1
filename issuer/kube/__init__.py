"""Kubernetes machinery that knows nothing of certificates: client, informer, queue, leader election, events."""
