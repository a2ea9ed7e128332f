"""One metric per module, and the list of them."""
