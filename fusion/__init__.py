"""The science: synchronous, without input or output, clock, logging or randomness."""
