"""The verbs of `fedling-broker`, a module for each noun; imported when the verb is typed."""
