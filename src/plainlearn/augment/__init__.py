"""Maps that compose, one sampling at the end, light and colour, and the transforms that draw them."""
