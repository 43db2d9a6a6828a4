"""Training: from a recipe to a run folder.

`train` is the command as a function. It has `launch` start the processes, builds a `Trainer` (one optimizer step, one
evaluation, everything a checkpoint holds) and gives it to a `Run`, which goes on to the end of the budget and writes
what the run folder holds. `benchmark` drives trainers of its own by the same parts.
"""
