"""The controllers: glue from the Kubernetes objects to the failover engine and back."""
