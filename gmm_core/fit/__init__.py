"""What repeats a pass over the data: the EM loop, its M-step, starts, restarts and streams."""
