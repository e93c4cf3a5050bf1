"""An in-memory Kubernetes API: enough of one for kubectl and for this controller. Not a database, not for production.

What it does, it does as a real kube-apiserver does, codes and messages included; what it does not do is in the
docstring of `Cluster`.
"""

from issuer.sandbox.cluster.cluster import Cluster
from issuer.sandbox.cluster.errors import StatusError
from issuer.sandbox.cluster.faults import Fault, Faults

__all__ = ["Cluster", "Fault", "Faults", "StatusError"]
