/* Moves a program's time of day by as many seconds as the file named by MOVED holds now; its other clocks go on
   as they are. To be loaded before the C library. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *seconds;

__attribute__((constructor)) static void open_moved(void) {
    const char *path = getenv("MOVED");
    int file = path ? open(path, O_RDONLY) : -1;
    void *held = file < 0 ? MAP_FAILED : mmap(0, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0);
    /* Nobody may take a clock that stands for one that was moved. */
    if (held == MAP_FAILED)
        abort();
    seconds = held;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, clock, time);
    if (!failed && clock == CLOCK_REALTIME)
        time->tv_sec += *seconds;
    return failed;
}
