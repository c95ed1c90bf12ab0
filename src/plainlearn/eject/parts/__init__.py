"""Pieces of ejected scripts, as plain Python that is read as text.

Each file is one part of a script: data, geometry, sampling, light, model, loop. A script gets those definitions
that it uses, word for word, so what is checked and tested here is what its readers see. Names in `given` are
those that a script itself defines; `jpegs` and `drafts` stand in for definitions of `pictures`. The library runs
one of them, `open_picture`, to see that a script will open a rare file as the learner does.
"""
