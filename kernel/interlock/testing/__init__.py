"""PROVE: what embedders and our own tests share."""
