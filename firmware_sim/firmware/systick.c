/* Instructions counted with SysTick. QEMU with -icount shift=0 lets one instruction take one
 * nanosecond of the board's time, so a tick is as many instructions as the board's clock period has
 * nanoseconds: calibrate() finds out how many. */
#include <stdbool.h>

#include "platform.h"

#define SYST_CSR (*(volatile uint32_t *)0xe000e010u)
#define SYST_RVR (*(volatile uint32_t *)0xe000e014u)
#define SYST_CVR (*(volatile uint32_t *)0xe000e018u)

#define SYST_RUN 5u        /* enabled, counts the processor's clock, no interrupt */
#define SYST_MAX 0xffffffu /* it counts down, in 24 bits */

#define LOOPS 500000u /* two instructions each */

static uint32_t calibration_ticks; /* of 2 * LOOPS instructions */
static uint32_t first;

static uint32_t ticks_since(uint32_t start) {
    return (start - SYST_CVR) & SYST_MAX;
}

static void calibrate(void) {
    uint32_t left = LOOPS;
    SYST_RVR = SYST_MAX;
    SYST_CVR = 0;
    SYST_CSR = SYST_RUN;
    while (SYST_CVR == 0) { /* the reload takes a tick */
    }
    uint32_t start = SYST_CVR;
    __asm volatile(".syntax unified\n"
                   "1:\tsubs %0, %0, #1\n"
                   "\tbne 1b"
                   : "+l"(left)
                   :
                   : "cc");
    calibration_ticks = ticks_since(start);
}

void platform_count_start(void) {
    if (calibration_ticks == 0)
        calibrate();
    first = SYST_CVR;
}

uint32_t platform_count_stop(void) {
    return (uint32_t)((uint64_t)ticks_since(first) * (2 * LOOPS) / calibration_ticks);
}
