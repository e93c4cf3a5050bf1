"""An in-memory Kubernetes API and a mock CDN API, for the demo and for tests. Never part of production."""
