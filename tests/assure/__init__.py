"""The proof from top to bottom, judged against what is pinned, with a certificate of what was seen.

``stages.toml`` lists the stages. A stage is some tests, and the figures that are read from their results: how many
tests of one name passed, or the sum of a property that they recorded (``record_property``). Each figure has a least
value for each profile: ``short`` is what the default suite does, in minutes, and ``long`` what ``--long`` does.
A stage is red if a test of it failed, if none ran, or if a figure is below its pin: a check that has quietly become
smaller is no check.
"""
