"""Pictures as data: blocks, loaders and learners in one line, and showing; it introduces the rooms to each other."""
