/* Numbers as text, without a C library. */
#ifndef PRINT_H
#define PRINT_H

#include <stdint.h>

void print_decimal(uint32_t value);
void print_hex(uint32_t value); /* eight digits */

#endif
