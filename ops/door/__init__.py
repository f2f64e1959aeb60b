"""The front door: `python -m ops.door` is Daphne with what it lacks.

Daphne is made to be used as it is: it has no options for any of this, hence the methods wrapped here. Read against Daphne
4.2.3, Twisted 26.10 and autobahn 26.10. On a Daphne without one of these methods the door does not start.
"""
