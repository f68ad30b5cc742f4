"""Programs that ask about a scene graph what the graph itself answers: one file per kind of fact, no model."""
