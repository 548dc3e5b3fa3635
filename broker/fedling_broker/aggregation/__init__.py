"""From updates to the next model: pure functions on arrays.

sums.py         updates added up as they come, by codec
optimisers.py   how a mean becomes a change of the model, one row each
state.py        what the aggregator knows of a model, in memory and on disk, read in spans
aggregate.py    the state after a round
initial.py      the first model, from a seed
fixed.py        the integer arithmetic of all of them; tagged.py the container on disk
"""
