"""A multi-node cluster network on one Linux machine: namespaces, kubelets, and the real agent."""
