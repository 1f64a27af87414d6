"""Imagined clusters: from decoded manifests to the objects that a real cluster would have."""
