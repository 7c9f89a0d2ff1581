"""What is wrong with a job: the evidence from a cluster or a runs folder, and one verdict on it."""
