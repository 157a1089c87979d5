/* Clock, latency histogram and CPU accounting of other processes. */
#ifndef LOAD_STATS_H
#define LOAD_STATS_H

#include <stdint.h>

/* Monotonic time in nanoseconds. */
uint64_t now_ns(void);

/* A log-linear histogram of durations: at most 0.4 % error, any range, constant memory. */
#define HIST_SUB_BITS 8
#define HIST_SIZE ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
    uint64_t total;
    uint64_t max;
    uint64_t buckets[HIST_SIZE];
};

void hist_add(struct hist *h, uint64_t ns);
/* The duration in nanoseconds that the share q (0 to 1) of all samples does not exceed; 0 without samples. */
uint64_t hist_quantile(const struct hist *h, double q);

/* User and system CPU seconds that process pid has used, all threads; negative if it is gone. */
double process_cpu_seconds(int pid);
/* CPU seconds of this process. */
double own_cpu_seconds(void);

#endif
