/* A process that fills every register it has, spins or waits in a system call, and looks whether all is as it was:
 * general registers, x87 and vector state, MXCSR, the red zone, signal mask, alternate stack, results of the calls.
 * Runs until the end of its input, then prints "ok LOOPS"; at the first difference prints it and aborts.
 * With the argument `signals` a timer interrupts it a thousand times a second.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct state {
    uint64_t gpr[15]; /* rax rbx rcx rdx rsi rdi rbp r8 ... r15 */
    double x87[8];
    uint64_t red_zone[16];
    uint32_t mxcsr, pad;
    uint64_t mask[8];
    uint8_t vector[32][64];
} __attribute__((aligned(64)));

struct state before, after;
uint64_t in_call, spins, wide, saved_rsp;
void fill_and_wait(void);

/* Everything static and addressed from rip, so that no register is needed to hold it. */
__asm__(
    ".text\n.globl fill_and_wait\nfill_and_wait:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "cmpq $0, wide(%rip); je 1f\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "vmovdqu64 before+384+64*\\n(%rip), %zmm\\n\n.endr\n"
    ".irp n,1,2,3,4,5,6,7\nkmovq before+320+8*\\n(%rip), %k\\n\n.endr\n"
    "jmp 2f\n1:\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nvmovdqu before+384+64*\\n(%rip), %ymm\\n\n.endr\n"
    "2: fninit\n"
    ".irp n,7,6,5,4,3,2,1,0\nfldl before+120+8*\\n(%rip)\n.endr\n"
    "ldmxcsr before+312(%rip)\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "mov before+184+8*\\n(%rip), %rax\nmov %rax, 8*\\n-128(%rsp)\n.endr\n"
    "mov %rsp, saved_rsp(%rip)\n"
    "mov before+0(%rip), %rax; mov before+8(%rip), %rbx; mov before+16(%rip), %rcx; mov before+24(%rip), %rdx\n"
    "mov before+32(%rip), %rsi; mov before+40(%rip), %rdi; mov before+48(%rip), %rbp; mov before+56(%rip), %r8\n"
    "mov before+64(%rip), %r9; mov before+72(%rip), %r10; mov before+80(%rip), %r11; mov before+88(%rip), %r12\n"
    "mov before+96(%rip), %r13; mov before+104(%rip), %r14; mov before+112(%rip), %r15\n"
    "cmpq $0, in_call(%rip); je 3f\n"
    "syscall\njmp 4f\n"
    "3: subq $1, spins(%rip); jnz 3b\n"
    "4:\n"
    "mov %rax, after+0(%rip); mov %rbx, after+8(%rip); mov %rcx, after+16(%rip); mov %rdx, after+24(%rip)\n"
    "mov %rsi, after+32(%rip); mov %rdi, after+40(%rip); mov %rbp, after+48(%rip); mov %r8, after+56(%rip)\n"
    "mov %r9, after+64(%rip); mov %r10, after+72(%rip); mov %r11, after+80(%rip); mov %r12, after+88(%rip)\n"
    "mov %r13, after+96(%rip); mov %r14, after+104(%rip); mov %r15, after+112(%rip)\n"
    "cmp %rsp, saved_rsp(%rip); je 5f; ud2\n"
    "5:\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "mov 8*\\n-128(%rsp), %rax\nmov %rax, after+184+8*\\n(%rip)\n.endr\n"
    "stmxcsr after+312(%rip)\n"
    ".irp n,0,1,2,3,4,5,6,7\nfstpl after+120+8*\\n(%rip)\n.endr\n"
    "cmpq $0, wide(%rip); je 6f\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "vmovdqu64 %zmm\\n, after+384+64*\\n(%rip)\n.endr\n"
    ".irp n,1,2,3,4,5,6,7\nkmovq %k\\n, after+320+8*\\n(%rip)\n.endr\n"
    "jmp 7f\n6:\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nvmovdqu %ymm\\n, after+384+64*\\n(%rip)\n.endr\n"
    "7: vzeroupper\n"
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "ret\n");
_Static_assert(__builtin_offsetof(struct state, mxcsr) == 312, "mxcsr");
_Static_assert(__builtin_offsetof(struct state, mask) == 320, "mask");
_Static_assert(__builtin_offsetof(struct state, vector) == 384, "vector");

enum { SPIN, PPOLL, READ, FUTEX, NANOSLEEP, ABSOLUTE, MODES };
static int waiting;
static volatile int ended, with_signals;
static volatile long alarms;
static uint32_t word;
static int pipe_ends[2];
static uint64_t random_state = 88172645463325252u;

static uint64_t next(void) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return random_state;
}

static void fail(const char *what, long mode, long a, long b) {
    printf("FAIL %s in mode %ld: 0x%lx, expected 0x%lx\n", what, mode, a, b);
    fflush(stdout);
    abort();
}

static void *wake(void *nothing) {
    (void)nothing;
    while (!ended) {
        usleep(200);
        int mode = __atomic_exchange_n(&waiting, 0, __ATOMIC_SEQ_CST);
        if (mode == PPOLL || mode == READ) {
            if (write(pipe_ends[1], "x", 1) != 1) abort();
        } else if (mode == FUTEX) {
            __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
            syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
        }
    }
    return 0;
}

static void *listen_for_end(void *nothing) {
    char byte;
    while (read(0, &byte, 1) == 1) {}
    ended = 1;
    return nothing;
}

static void on_alarm(int signal) {
    volatile double x = alarms + signal;
    alarms = alarms + (x > -1);
}

int main(int argc, char **argv) {
    with_signals = argc > 1 && !strcmp(argv[1], "signals");
    wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    if (pipe(pipe_ends)) abort();
    static char alternate[65536];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, stack_now;
    sigaltstack(&stack, 0);
    sigset_t blocked, none, now;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGRTMIN + 3);
    pthread_t waker, listener;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, 0);
    pthread_create(&waker, 0, wake, 0);
    pthread_create(&listener, 0, listen_for_end, 0);
    sigprocmask(SIG_SETMASK, &blocked, 0);
    if (with_signals) {
        struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
        sigaction(SIGALRM, &action, 0);
        struct itimerval timer = {{0, 1000}, {0, 1000}};
        setitimer(ITIMER_REAL, &timer, 0);
    }
    printf("ready %s\n", wide ? "avx512" : "avx");
    fflush(stdout);
    long loops = 0;
    for (; !ended; loops++) {
        long mode = loops % MODES;
        uint64_t *fields = (uint64_t *)&before;
        for (size_t i = 0; i < sizeof before / 8; i++) fields[i] = next();
        for (int i = 0; i < 8; i++) before.x87[i] = (double)(int64_t)next() / 7;
        before.mxcsr = 0x1f80 | (next() & 3) << 13; /* a rounding mode */
        struct pollfd poll = {pipe_ends[0], POLLIN, 0};
        struct timespec time = {0, 300000};
        char byte = 0;
        uint64_t *g = before.gpr;
        long expected = 0;
        in_call = mode != SPIN;
        spins = 100000;
        switch (mode) {
        case PPOLL: g[0] = SYS_ppoll, g[5] = (uint64_t)&poll, g[4] = 1, g[3] = 0, g[9] = (uint64_t)&none, g[7] = 8, expected = 1; break;
        case READ: g[0] = SYS_read, g[5] = pipe_ends[0], g[4] = (uint64_t)&byte, g[3] = 1, expected = 1; break;
        case FUTEX: word = 0, g[0] = SYS_futex, g[5] = (uint64_t)&word, g[4] = FUTEX_WAIT_PRIVATE, g[3] = 0, g[9] = 0; break;
        case NANOSLEEP: g[0] = SYS_nanosleep, g[5] = (uint64_t)&time, g[4] = 0; break;
        case ABSOLUTE:
            clock_gettime(CLOCK_MONOTONIC, &time);
            time.tv_nsec += 300000;
            if (time.tv_nsec >= 1000000000) time.tv_sec++, time.tv_nsec -= 1000000000;
            g[0] = SYS_clock_nanosleep, g[5] = CLOCK_MONOTONIC, g[4] = TIMER_ABSTIME, g[3] = (uint64_t)&time, g[9] = 0;
            break;
        }
        __atomic_store_n(&waiting, mode, __ATOMIC_SEQ_CST);
        fill_and_wait();
        for (int i = 0; i < 15; i++) {
            if (in_call && (i == 0 || i == 2 || i == 10)) continue; /* rax, rcx, r11 */
            if (before.gpr[i] != after.gpr[i]) fail("register", mode * 100 + i, after.gpr[i], before.gpr[i]);
        }
        long result = (long)after.gpr[0];
        if (in_call && result != expected && !(mode == FUTEX && result == -EAGAIN) && !(with_signals && result == -EINTR))
            fail("result", mode, result, expected);
        if (mode == PPOLL && read(pipe_ends[0], &byte, 1) != 1) fail("byte", mode, errno, 0);
        if (mode == READ && byte != 'x') fail("byte read", mode, byte, 'x');
        if (mode == FUTEX) while (!__atomic_load_n(&word, __ATOMIC_SEQ_CST)) usleep(50);
        if (memcmp(before.x87, after.x87, sizeof before.x87)) fail("x87", mode, 0, 0);
        if (memcmp(before.red_zone, after.red_zone, 128)) fail("red zone", mode, after.red_zone[0], before.red_zone[0]);
        if ((before.mxcsr ^ after.mxcsr) & 0xffc0) fail("mxcsr", mode, after.mxcsr, before.mxcsr);
        if (wide && memcmp(before.mask + 1, after.mask + 1, 56)) fail("mask registers", mode, 0, 0);
        for (int i = 0; i < (wide ? 32 : 16); i++)
            if (memcmp(before.vector[i], after.vector[i], wide ? 64 : 32)) fail("vector register", mode * 100 + i, 0, 0);
        sigprocmask(SIG_SETMASK, 0, &now);
        if (memcmp(&now, &blocked, 8)) fail("signal mask", mode, *(long *)&now, *(long *)&blocked);
        sigaltstack(0, &stack_now);
        if (stack_now.ss_sp != alternate || stack_now.ss_flags) fail("alternate stack", mode, stack_now.ss_flags, 0);
    }
    if (with_signals && !alarms) fail("no signal came", 0, 0, 0);
    printf("ok %ld\n", loops);
    return 0;
}
