"""`python -m tests.bench`: what a streamed token costs in the whole product, next to a bare relay in the same run.

`upstream`, `relay` and `viewers` are processes of their own; `runs`, `sends`, `stops` and `sockets` measure; `report` prints.
"""
