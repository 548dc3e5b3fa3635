# Compiler flags, written once: included by make, read by native/build_core.py.
# -ffp-contract=off: a fused multiply-add would give other bits on other machines.
# -O3: gcc vectorises loops of unknown length only then; a step is five times faster.
FDL_CFLAGS = -std=c11 -O3 -ffp-contract=off
FDL_WARNINGS = -Wall -Wextra -Wconversion -Wshadow
