"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# That a machine is busy is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
