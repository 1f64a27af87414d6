"""Hypothesis on a busy machine: a slow example is not a wrong one."""

from hypothesis import HealthCheck, settings

settings.register_profile("steppe", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steppe")
