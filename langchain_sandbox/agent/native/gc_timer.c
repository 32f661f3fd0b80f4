/*
 * Keeps OpenCode from collecting garbage every 16 milliseconds.
 *
 * Bun 1.3, which OpenCode is made with, looks at its heap at each turn of its loop. Where that has grown by anything, it
 * sets a timer of 16 milliseconds, and collects when that is over: some ten times in a task of four model calls, each
 * for 5 milliseconds, a third of all the time that the task takes. Later versions of Bun do not. BUN_GC_TIMER_DISABLE
 * is to switch it off, and in a compiled program it is read before there is an environment.
 *
 * So this one timer is never set. Garbage is collected as ever when enough was allocated, and once a second. Tools do
 * not get this library: it takes itself out of the environment that they inherit.
 */

#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define COLLECTING 16000000 /* nanoseconds; nothing else in Bun uses a timer descriptor for this time, and once */

__attribute__((constructor)) static void hide(void)
{
    unsetenv("LD_PRELOAD");
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new_value, struct itimerspec *old_value)
{
    if (new_value != NULL && new_value->it_interval.tv_sec == 0 && new_value->it_interval.tv_nsec == 0 &&
        new_value->it_value.tv_sec == 0 && new_value->it_value.tv_nsec == COLLECTING)
        return 0;
    return (int)syscall(SYS_timerfd_settime, fd, flags, new_value, old_value);
}
