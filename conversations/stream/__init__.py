"""The live text of replies. Text only grows, so its length is every viewer's cursor.

The worker's `flusher` appends to a Redis stream per reply and rings a doorbell per conversation; in a web process one `hub`
hears all doorbells and a `feed` per viewer turns them into frames, with a snapshot whenever something was missed.
`log` reads the stream; `frames` is the wire format. Nothing here decides about a reply: that is `generation`.
"""
