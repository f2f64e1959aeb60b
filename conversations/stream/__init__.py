"""The live text of replies. Text only grows, so its length is every viewer's cursor.

In a worker every running reply is a `live` one: the `flusher` appends its text to a Redis stream and rings a doorbell per
conversation, the `keeper` writes checkpoints, renews leases and hears stops. In a web process one `hub` hears all doorbells,
and a `feed` per viewer passes them on or, whenever something was missed, gives what `reading` finds in row and stream.
`log` reads and rings for synchronous callers; `frames` is the wire format. Nothing here decides about a reply: that is
`generation`.
"""
