"""Recordings as files: each reader yields the messages that the device itself would have sent."""
