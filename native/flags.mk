# Compiler flags, written once: included by make, read by native/build_core.py.
# -ffp-contract=off: a fused multiply-add would give other bits on other machines.
FDL_CFLAGS = -std=c11 -O2 -ffp-contract=off
FDL_WARNINGS = -Wall -Wextra -Wconversion -Wshadow
