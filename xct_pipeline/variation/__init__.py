"""Registered volumes and labels to changes of mass, each with its error."""
