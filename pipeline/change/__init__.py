"""Two looks at one place: register, normalise, difference; appeared, departed, moved, persisted, unobservable."""
