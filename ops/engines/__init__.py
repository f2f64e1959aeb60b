"""The embedded engines: PostgreSQL, Valkey and a small language model as child processes.

Everything here works without Django, so that tests, `manage.py up` and recovery drills
can start engines before (or without) settings. What to start and in which order is
`supervisor`'s business; what an engine needs is in the module of its name.
"""
