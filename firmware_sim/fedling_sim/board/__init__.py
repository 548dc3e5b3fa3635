"""The kernel on Cortex-M boards: which there are, images for them, QEMU that runs them."""
