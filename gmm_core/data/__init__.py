"""What goes over X: checks of what users give, and the passes over arrays, batches and clusters."""
