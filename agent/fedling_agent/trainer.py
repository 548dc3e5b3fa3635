"""The training child: `python -m fedling_agent.trainer JOBDIR DUTY CHECKPOINT_S`."""
