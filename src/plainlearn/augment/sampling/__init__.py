"""Reading pictures through maps, once: one definition, and a backend for each kind of machine."""
