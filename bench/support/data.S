/* The examples and the first weights of a program, from files of a folder of -I. */
    .section .rodata.data, "a", %progbits
    .global inputs, classes, start
    .balign 8
inputs:
    .incbin "inputs.bin"
    .balign 8
start:
    .incbin "start.bin"
    .balign 8
classes:
    .incbin "classes.bin"
    .section .note.GNU-stack, "", %progbits
