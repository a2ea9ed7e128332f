"""Truth, the sensors that see it, the faults that befall them, and whole fleets of athletes."""
