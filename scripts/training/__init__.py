"""Training of the golden-pair detector. A tool: nothing here is imported by edge_agent."""
