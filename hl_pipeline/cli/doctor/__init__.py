"""``hl doctor``: what a new machine or a broken installation gets wrong. Everything here only reads."""
