#include "stats.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Values below 2^HIST_SUB_BITS have a bucket each; above, every power of two is cut into 2^HIST_SUB_BITS buckets. */
static unsigned bucket_of(uint64_t ns) {
    if (ns < (1u << HIST_SUB_BITS)) return (unsigned)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - HIST_SUB_BITS;
    return ((shift + 1) << HIST_SUB_BITS) + (unsigned)((ns >> shift) & ((1u << HIST_SUB_BITS) - 1));
}

static uint64_t bucket_top(unsigned bucket) {
    if (bucket < (1u << HIST_SUB_BITS)) return bucket;
    unsigned shift = (bucket >> HIST_SUB_BITS) - 1;
    uint64_t mantissa = (bucket & ((1u << HIST_SUB_BITS) - 1)) | (1u << HIST_SUB_BITS);
    return ((mantissa + 1) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t ns) {
    h->total++;
    if (ns > h->max) h->max = ns;
    h->buckets[bucket_of(ns)]++;
}

uint64_t hist_quantile(const struct hist *h, double q) {
    uint64_t wanted = (uint64_t)(q * (double)h->total + 0.5), seen = 0;
    if (h->total == 0) return 0;
    if (wanted == 0) wanted = 1;
    for (unsigned i = 0; i < HIST_SIZE; i++) {
        seen += h->buckets[i];
        if (seen >= wanted) {
            uint64_t top = bucket_top(i);
            return top < h->max ? top : h->max;
        }
    }
    return h->max;
}

double process_cpu_seconds(int pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f) return -1;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    /* The command name may hold spaces and brackets: fields are counted from its last closing bracket. */
    char *rest = strrchr(text, ')');
    unsigned long user = 0, system = 0;
    if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) return -1;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

double own_cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}
