/* A Cortex-M from power-on to main(): the vector table, memory, the floating-point unit, faults.
 *
 * board.ld puts the stack at the lowest addresses of the RAM: one that grows too far leaves the RAM
 * and faults, and never overwrites data. */
#include "platform.h"
#include "print.h"

#define STACK_PAINT 0xa5a5a5a5u

/* Coprocessor access control: the FPU and MVE are coprocessors 10 and 11, off after reset. */
#define CPACR      (*(volatile uint32_t *)0xe000ed88u)
#define CPACR_FULL (0xfu << 20)

/* Interrupt control and state: its low bits are the number of the exception that is served. */
#define ICSR            (*(volatile uint32_t *)0xe000ed04u)
#define ICSR_VECTACTIVE 0x1ffu

/* Words that an exception pushes: r0 to r3, r12, lr, pc, psr. */
#define FRAME_LR 5
#define FRAME_PC 6

extern uint32_t stack_low[], stack_top[];
extern uint32_t data_start[], data_end[], bss_start[], bss_end[];
extern const uint32_t data_load[];

int main(void);
void reset(void);
void fault(void);
void report_fault(const uint32_t *frame);

static void copy_data(void) {
    const uint32_t *from = data_load;
    for (uint32_t *to = data_start; to < data_end; to++)
        *to = *from++;
}

static void clear_bss(void) {
    for (uint32_t *word = bss_start; word < bss_end; word++)
        *word = 0;
}

void platform_stack_clear(void) {
    uint32_t *here = __builtin_frame_address(0);
    for (volatile uint32_t *word = stack_low; word < here - 32; word++) /* 32: our own callees */
        *word = STACK_PAINT;
}

/* Apart from reset(), so that no register of the FPU is touched before the FPU is on. */
__attribute__((noinline)) static void start(void) {
    platform_stack_clear();
    copy_data();
    clear_bss();
    platform_exit(main());
}

void reset(void) {
#ifdef __ARM_FP
    CPACR |= CPACR_FULL;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    start();
}

uint32_t platform_stack_used(void) {
    const uint32_t *word = stack_low;
    while (word < stack_top && *word == STACK_PAINT)
        word++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)word);
}

void report_fault(const uint32_t *frame) {
    platform_print("fault: exception ");
    print_decimal(ICSR & ICSR_VECTACTIVE);
    if (frame < stack_low || frame >= stack_top) {
        platform_print(", the stack is full\n");
        platform_exit(1);
    }
    platform_print(" at ");
    print_hex(frame[FRAME_PC]);
    platform_print(", called from ");
    print_hex(frame[FRAME_LR]);
    platform_print("\n");
    platform_exit(1);
}

/* Nobody returns to what faulted: its stack, perhaps full, is used anew. */
__attribute__((naked)) void fault(void) {
    __asm volatile("mov r0, sp\n\t"
                   "ldr r1, =stack_top\n\t"
                   "mov sp, r1\n\t"
                   "ldr r1, =report_fault\n\t"
                   "bx r1");
}

/* No interrupt is ever enabled: 15 exceptions of the core are all there are. */
__attribute__((section(".vectors"), used)) static void (*const vectors[15])(void) = {
    reset, fault, fault, fault, fault, fault, fault, fault,
    fault, fault, fault, fault, fault, fault, fault,
};
