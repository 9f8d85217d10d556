"""From what the plant answers to what the agent knows: reconcile > recover > refit."""
