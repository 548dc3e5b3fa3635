/* The golden vectors in the image: vectors.bin of a folder that -I names. */
    .section .rodata.vectors, "a", %progbits
    .global vectors
    .balign 8
vectors:
    .incbin "vectors.bin"

    .section .note.GNU-stack, "", %progbits
