"""Reads what there is in a cluster, and says what is wrong with it. Never writes."""
