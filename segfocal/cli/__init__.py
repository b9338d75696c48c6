"""The commands: from a Hydra config to objects, from errors to messages."""
