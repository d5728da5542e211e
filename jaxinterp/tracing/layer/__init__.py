"""What a rule sees of a site, and how it goes back through it."""
