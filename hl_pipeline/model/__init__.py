"""Nouns and pure arithmetic; imports the standard library only, and nobody else here."""
