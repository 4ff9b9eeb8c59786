"""The fitting of a mixture: the EM loop, its M-step, starts, restarts, checkpoints and streams."""
