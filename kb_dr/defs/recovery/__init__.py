"""Recovery as a whole: what shows that all of it would work."""
