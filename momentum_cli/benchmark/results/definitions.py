"""Definitions of the numbers of a benchmark, at the end of the report and in bench.json."""

from __future__ import annotations

DEFINITIONS = {
    "time to target": "The first evaluation at or past the target, on an evaluation grid that is the same for all "
    "cells; nothing is interpolated. A run that does not get there has the time infinity and stays in every median.",
    "target of the baseline": "With --target baseline the best value of the baseline's run, over its whole budget, is "
    "the target of all runs with the same seed, its own included; with baseline:pooled the median of these values over "
    "seeds is that of all runs, of an even number the easier one of the middle two.",
    "training seconds": "Data, forward, backward and optimizer step, compilation included; on a GPU between events "
    "recorded before and after each step. Evaluations, logging and checkpoints are excluded. One-time costs of a "
    "process (imports, thread pools) are incurred before the clock starts.",
    "wall seconds": "Training seconds, evaluations, logging and checkpoints of the run itself.",
    "interleaving": "The runs of one seed take turns of at most about a second in one process, in rotating order.",
    "equal terms": "All cells have the same data, the same order of the data and the same initial seed for a seed; the "
    "same batches, grid, budget and target. Options that are a cell's own are listed with it.",
    "median and range": "Over seeds; the median of an even number is the mean of the middle two.",
    "speed-up": "Median of the baseline over median of the cell on the scored clock: above 1 the cell is faster. 0: "
    "the cell misses; infinity: the baseline does; no number: both do.",
    "interval": "95 % percentile bootstrap of the speed-up over seeds, seeds drawn in pairs; all resamples up to five "
    "seeds, 10,000 above.",
    "best metric": "Mean and sample standard deviation over seeds of the best evaluation of each run. Runs stop at the "
    "target unless --full is given, so it is then not what a cell can reach.",
    "test": "The metric on the test set at the parameters of that best evaluation.",
    "ms per step": "Training seconds over steps, median over seeds.",
    "peak memory": "On the CPU the resident memory of a process that trains and evaluates this cell alone, Python, "
    "torch and data included; on CUDA what torch allocated on the device. Without --jobs measured over two steps and "
    "one batch of evaluation.",
    "learning rates": "Every cell and optimizer with every rate of the grid, on equal terms. Its best rate is that "
    "with the fewest median steps to the target, of equals and where none reaches it that with the best mean metric. "
    "It is chosen by the runs that are then reported at it.",
    "robustness": "A rate reaches the target when its median run does. The width is log10(highest / lowest) of the "
    "longest run of neighbouring rates of the grid that all reach it: no number where none does, 0 for a single one; a "
    "rate in between that misses ends the range. It is a lower bound where the range ends with the grid.",
    "beta": "The momentum that an adaptive optimizer chose, as logged every n-th step (train.log_every_n_steps).",
    "geometric mean": "Of a cell's speed-ups over the recipes; no number when it and the baseline both miss on one.",
    "performance profile": "Part of the recipes on which a cell's median time is within a factor tau of the best "
    "cell's; the score is its mean over tau from 1 to 4 (Dolan and Moré 2002; AlgoPerf 2023).",
}
