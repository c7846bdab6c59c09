"""OPERATE: the command line, the demo, and the example limits."""
