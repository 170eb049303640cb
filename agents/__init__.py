"""What learns and acts: training, policies, the worker process, checkpoints, evaluation."""
