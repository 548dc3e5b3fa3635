/* What a program of this folder needs of the place where it runs: a bare Cortex-M board in QEMU
 * (start.c, semihosting.c, systick.c, memory.c) or Linux (linux.c). */
#ifndef PLATFORM_H
#define PLATFORM_H

#include <stddef.h>
#include <stdint.h>

/* Standard output. */
void platform_print(const char *text);

_Noreturn void platform_exit(int status);

/* Instructions between the two calls: fewer than 2^29, exact to 64. 0 where nothing counts them;
 * QEMU does with -icount shift=0. */
void platform_count_start(void);
uint32_t platform_count_stop(void);

/* The most bytes of stack that were in use at once since the start, or since the stack was cleared
 * below the caller; 0 where nobody knows. */
uint32_t platform_stack_used(void);
void platform_stack_clear(void);

/* Memory of exactly this size, aligned to 8. A program that runs out of it ends. */
void *platform_new(size_t size);

/* The same bytes, to be read only. Where a sanitiser may watch they are a copy of exactly this size,
 * so that it sees a read past them. */
const void *platform_constant(const void *bytes, size_t size);

/* Free all memory that was taken since the mark. */
size_t platform_mark(void);
void platform_release(size_t mark);

#endif
