"""Training: from a recipe to a run folder.

`train` is the command as a function. `launch` starts the processes; a `Trainer` makes one optimizer step or one
evaluation; a `Session` keeps the run in its folder, and `snapshot` turns a trainer into a checkpoint and back. `Run`
drives a session to the end of its budget. A benchmark drives sessions of several runs in turn.
"""
