"""The demo: broker, agent, line and MES as processes, what happens shown live, and an honest summary at the end."""
