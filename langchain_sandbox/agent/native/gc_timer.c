/*
 * Keeps OpenCode from collecting garbage every 16 milliseconds, and when it is woken up.
 *
 * Bun 1.3, which OpenCode is made with, looks at its heap at each turn of its loop. Where that has grown by anything, it
 * sets a timer of 16 milliseconds, and collects when that is over: some ten times in a task of four model calls, each
 * for 5 milliseconds, a third of all the time that the task takes. Later versions of Bun do not. BUN_GC_TIMER_DISABLE
 * is to switch it off, and in a compiled program it is read before there is an environment.
 *
 * So this one timer is never set. Garbage is collected as ever when enough was allocated, and once a second. That second
 * is always over for who was stopped, as a spare is until its task comes: the first 10 to 20 milliseconds of the task
 * would be for collecting what is not there. So it begins anew when the process goes on, if its first thread is told:
 * where another one takes the signal, the first may be at the timer before it.
 *
 * Tools do not get this library: it takes itself out of the environment that they inherit.
 */

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Nothing else in Bun uses a timer descriptor for these times. */
#define COLLECTING 16000000 /* nanoseconds, once */
#define OFTEN 1             /* seconds, again and again */
#define SELDOM 30           /* seconds, where the heap has been the same for long */

static volatile sig_atomic_t repeating = -1; /* a descriptor */
static struct itimerspec period;

static void go_on(int number)
{
    int before = errno;

    (void)number;
    if (repeating >= 0)
        syscall(SYS_timerfd_settime, (int)repeating, 0, &period, NULL);
    errno = before;
}

__attribute__((constructor)) static void begin(void)
{
    struct sigaction action = {.sa_handler = go_on, .sa_flags = SA_RESTART};

    unsetenv("LD_PRELOAD");
    sigaction(SIGCONT, &action, NULL);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new_value, struct itimerspec *old_value)
{
    if (new_value != NULL && new_value->it_interval.tv_sec == 0 && new_value->it_interval.tv_nsec == 0 &&
        new_value->it_value.tv_sec == 0 && new_value->it_value.tv_nsec == COLLECTING)
        return 0;
    if (new_value != NULL && flags == 0 &&
        (new_value->it_interval.tv_sec == OFTEN || new_value->it_interval.tv_sec == SELDOM)) {
        repeating = -1;
        period = *new_value;
        repeating = fd;
    }
    return (int)syscall(SYS_timerfd_settime, fd, flags, new_value, old_value);
}
