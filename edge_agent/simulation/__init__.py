"""The simulated line: boards, process, MES. Part of the product: it is the demo and the test bed."""
