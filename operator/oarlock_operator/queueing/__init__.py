"""Who may start: the queue's decisions over all jobs, as pure functions. No I/O, no clock."""
