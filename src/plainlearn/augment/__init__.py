"""Maps that compose, the one sampling at the end, light and colour, and the random transforms."""
