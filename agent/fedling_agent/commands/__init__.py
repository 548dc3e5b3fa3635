"""The verbs of `fedling-agent`, one module each: run(args) -> exit code."""
