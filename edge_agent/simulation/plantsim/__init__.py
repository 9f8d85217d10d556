"""Scenarios of a plant with a known truth, and what they say of the diagnosis.

draw (`scenario`) > make and record (`disturbing`, `unlisted`, `recording`) > diagnose (`witness`) > rank (`methods`) >
judge (`scoring`). The process is `simulation.process`: equations that know nothing of the catalogue of causes.
"""
