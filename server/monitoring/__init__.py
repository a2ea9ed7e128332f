"""Monitoring over HTTP: ``/metrics`` for Prometheus, ``/healthz`` and ``/readyz``."""

from server.monitoring.http import Monitor
from server.monitoring.snapshot import Snapshot

__all__ = ["Monitor", "Snapshot"]
