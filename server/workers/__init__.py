"""The engine in several processes: `server.workers.pool` in the parent, `server.workers.worker` the child.

The parent has the link, the inbox and all that is said of the server; each worker has an engine with its
own athletes. `routing` tells whose a message is, `wire` is what they say to each other, `pipe` carries it.
"""
