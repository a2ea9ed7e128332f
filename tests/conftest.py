"""What all tests share: how properties are tried, and that Ctrl-C is heard."""

import os
import signal

from hypothesis import HealthCheck, settings

# A busy machine refutes no property. In CI the examples are the same every time, elsewhere new ones.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would every command they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
