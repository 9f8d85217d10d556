"""Fine-tuning of the default language model for the agent's own two tasks: choosing and writing."""
