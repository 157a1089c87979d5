/* A load generator for servers that fan events out to Socket.IO, SignalR or PlaceOS subscribers; see ../README.md for its options.
 *
 * One thread, one epoll set. It opens the subscribers, runs one of four modes and prints one line of JSON:
 *
 *   closed   keeps K events in flight; an event is done when its last subscriber has it, then the next one goes out
 *   open     sends R events a second by the clock, however late the deliveries are, and measures their latency
 *   durable  S senders, each with one request of B events in flight; counts acknowledged events; no subscribers
 *   idle     holds the subscribers open until standard input ends, so that the server's memory can be read
 *
 * Events of one ingest target reach its subscribers in one order, so an event is known by its number in that order:
 * counting frames is enough to know which subscriber has which event. */
#include "net.h"
#include "sender.h"
#include "stats.h"
#include "subscriber.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define OPENING_AT_ONCE 64      /* handshakes under way: fewer than any listen backlog */
#define STALL_SECONDS 20ull     /* a run without any progress for so long has failed */
#define MAX_IN_FLIGHT 1024
#define MAX_SENDERS 512         /* connections of open mode; what is due beyond them waits, and its time runs */
#define MAX_PIDS 32

static struct {
    const char *mode, *host, *protocol, *ingest_targets_path, *targets_path, *body_path;
    int port, control_port;
    unsigned connections, in_flight, batch, sender_count;
    double rate, warmup, seconds, drain;
    char headers[4096];
    int pids[MAX_PIDS];
    unsigned pid_count;
} options = {
    .mode = "closed", .host = "127.0.0.1", .protocol = "socketio", .in_flight = 1, .batch = 1, .sender_count = 1, .rate = 100, .warmup = 1, .seconds = 3, .drain = 5,
};

static struct subscriber *subs;
static char **targets, **ingest_targets;
static size_t target_count, ingest_target_count = 1;
static unsigned dialled;
static uint64_t last_progress;

/* Readings at the two ends of the measured span. */
static struct reading {
    uint64_t at, deliveries, event_bytes, events_done, acknowledged;
    double cpu[MAX_PIDS], own_cpu;
} first, last;

/* --- closed mode ------------------------------------------------------------------------------------------------ */

static struct pollable control_connection = {.kind = KIND_CONTROL, .fd = -1};
static uint32_t holders[MAX_IN_FLIGHT]; /* how many subscribers have event n, at n modulo the size */
static uint64_t issued, done;

static void issue(uint64_t count) {
    static const char bytes[MAX_IN_FLIGHT];
    issued += count;
    if (control_connection.fd >= 0) {
        /* One byte asks the server to emit one event by itself; see the peers and live_path.py. */
        if (send(control_connection.fd, bytes, count, MSG_NOSIGNAL) != (ssize_t)count) fail("control connection lost");
    } else {
        while (count--) sender_post();
    }
}

static void closed_delivered(struct subscriber *s, uint64_t events) {
    uint64_t before = done;
    if (s->events > issued) fail("a subscriber received more events than were sent");
    for (uint64_t n = s->events - events; n < s->events; n++) {
        uint32_t *have = &holders[n % MAX_IN_FLIGHT];
        if (++*have == options.connections) {
            *have = 0;
            done++;
        }
    }
    if (done > before) issue(done - before);
}

/* --- open mode -------------------------------------------------------------------------------------------------- */

static struct pollable timer = {.kind = KIND_TIMER, .fd = -1};
static struct hist latency;      /* of deliveries, or of acknowledgements in durable mode */
static uint64_t open_start;      /* when request 0 is due */
static uint64_t requests_sent, requests_total, requests_warm;
static uint64_t expected_deliveries;
static uint32_t *group_size;     /* subscribers of each ingest target */

static uint64_t due_time(uint64_t request) {
    return open_start + (uint64_t)((double)request * options.batch * 1e9 / options.rate);
}

static void arm_timer(void) {
    uint64_t due = due_time(requests_sent);
    struct itimerspec t = {.it_value = {.tv_sec = (time_t)(due / SECOND), .tv_nsec = (long)(due % SECOND)}};
    timerfd_settime(timer.fd, TFD_TIMER_ABSTIME, &t, NULL);
}

/* Latency counts from the moment an event was due, so that a sender held up by a slow server is not left out. */
static void open_delivered(struct subscriber *s, uint64_t events) {
    uint64_t now = now_ns();
    for (uint64_t n = s->events - events; n < s->events; n++) {
        uint64_t request = n / options.batch * ingest_target_count + s->group;
        if (request >= requests_sent) fail("a subscriber received more events than were sent");
        if (request >= requests_warm) hist_add(&latency, now - due_time(request));
    }
}

static void send_due(void) {
    uint64_t now = now_ns();
    while (requests_sent < requests_total && due_time(requests_sent) <= now && senders.in_flight < MAX_SENDERS) {
        size_t target = sender_post();
        expected_deliveries += (uint64_t)group_size[target] * options.batch;
        requests_sent++;
    }
    if (requests_sent < requests_total && due_time(requests_sent) > now) arm_timer();
}

static void open_begin(void) {
    requests_warm = (uint64_t)(options.warmup * options.rate / options.batch);
    requests_total = requests_warm + (uint64_t)(options.seconds * options.rate / options.batch);
    group_size = calloc(ingest_target_count, sizeof *group_size);
    for (unsigned i = 0; i < options.connections; i++) group_size[subs[i].group]++;
    timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    watch(&timer, EPOLLIN);
    open_start = now_ns() + SECOND / 100;
    arm_timer();
}

/* What never came counts with the time that was waited for it, so that a server that falls behind looks as slow as it is. */
static uint64_t open_undelivered(void) {
    uint64_t now = now_ns(), missing = 0;
    for (unsigned i = 0; i < options.connections; i++) {
        for (uint64_t n = subs[i].events;; n++) {
            uint64_t request = n / options.batch * ingest_target_count + subs[i].group;
            if (request >= requests_total) break;
            if (request >= requests_warm) {
                hist_add(&latency, now - due_time(request));
                missing++;
            }
        }
    }
    return missing;
}

/* --- all modes -------------------------------------------------------------------------------------------------- */

static struct reading take_reading(void) {
    struct reading r = {.at = now_ns(), .deliveries = subscribers.events, .event_bytes = subscribers.event_bytes,
                        .events_done = done, .acknowledged = senders.events, .own_cpu = own_cpu_seconds()};
    for (unsigned i = 0; i < options.pid_count; i++) r.cpu[i] = process_cpu_seconds(options.pids[i]);
    return r;
}

static void dial_some(void) {
    while (dialled < options.connections && subscribers.opening < OPENING_AT_ONCE) {
        unsigned i = dialled++;
        subscriber_open(&subs[i], targets[i % target_count], (uint32_t)(i % ingest_target_count));
    }
}

enum phase { PHASE_OPENING, PHASE_RUNNING };
static enum phase phase;
enum mode { MODE_CLOSED, MODE_OPEN, MODE_DURABLE, MODE_IDLE };
static enum mode mode;
static bool input_ended;

static void delivered(struct subscriber *s, uint64_t events) {
    last_progress = now_ns();
    if (mode == MODE_CLOSED) closed_delivered(s, events);
    if (mode == MODE_OPEN) open_delivered(s, events);
}

static void acknowledged(uint64_t took) {
    last_progress = now_ns();
    if (mode == MODE_OPEN) send_due();
    if (mode != MODE_DURABLE) return;
    if (first.at && !last.at) hist_add(&latency, took);
    sender_post();
}

static void handle(struct epoll_event *e) {
    struct pollable *p = e->data.ptr;
    uint64_t took, events;
    char drop[64];
    switch (p->kind) {
    case KIND_SUBSCRIBER:
        events = subscriber_ready((struct subscriber *)p);
        if (events) delivered((struct subscriber *)p, events);
        break;
    case KIND_SENDER:
        if (sender_ready((struct sender *)p, e->events, &took)) acknowledged(took);
        break;
    case KIND_TIMER:
        if (read(p->fd, drop, sizeof drop) > 0) send_due();
        break;
    case KIND_STDIN:
        if (read(p->fd, drop, sizeof drop) <= 0) input_ended = true;
        break;
    case KIND_CONTROL:
        fail("the server closed the control connection");
    }
}

static void poll_once(int timeout_ms) {
    struct epoll_event events[256];
    int n = epoll_wait(epoll_fd, events, 256, timeout_ms);
    if (n < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) handle(&events[i]);
    if (phase == PHASE_OPENING) dial_some();
}

static double open_subscribers(void) {
    uint64_t start = now_ns();
    uint32_t before = 0;
    last_progress = start;
    dial_some();
    while (subscribers.ready < options.connections) {
        poll_once(100);
        if (subscribers.ready != before) last_progress = now_ns();
        before = subscribers.ready;
        if (now_ns() - last_progress > STALL_SECONDS * SECOND)
            fail("only %u of %u subscribers became ready", subscribers.ready, options.connections);
    }
    phase = PHASE_RUNNING;
    return (double)(now_ns() - start) / 1e9;
}

static void run_until(uint64_t end) {
    for (uint64_t now = now_ns(); now < end; now = now_ns()) {
        if (now - last_progress > STALL_SECONDS * SECOND) fail("no delivery and no answer for %llu s", STALL_SECONDS);
        poll_once((int)((end - now) / 1000000) < 100 ? (int)((end - now) / 1000000) : 100);
    }
}

static void run_timed(void) {
    uint64_t start = now_ns();
    run_until(start + (uint64_t)(options.warmup * 1e9));
    first = take_reading();
    run_until(first.at + (uint64_t)(options.seconds * 1e9));
    last = take_reading();
}

static void run_closed(void) {
    if (options.control_port) {
        struct sockaddr_in address = server_address;
        address.sin_port = htons((uint16_t)options.control_port);
        control_connection.fd = dial(&address);
        struct pollfd writable = {.fd = control_connection.fd, .events = POLLOUT};
        poll(&writable, 1, 1000);
        watch(&control_connection, EPOLLIN);
    }
    issue(options.in_flight);
    run_timed();
}

static uint64_t run_open(void) {
    open_begin();
    run_until(due_time(requests_warm));
    first = take_reading();
    uint64_t deadline = due_time(requests_total) + (uint64_t)(options.drain * 1e9);
    while (now_ns() < deadline) {
        if (requests_sent == requests_total && subscribers.events == expected_deliveries && !senders.in_flight) break;
        poll_once(10);
    }
    last = take_reading();
    return open_undelivered();
}

static void run_durable(void) {
    for (unsigned i = 0; i < options.sender_count; i++) sender_post();
    run_timed();
}

static void run_idle(void) {
    static struct pollable input = {.kind = KIND_STDIN, .fd = STDIN_FILENO};
    printf("{\"ready\": %u}\n", subscribers.ready);
    fflush(stdout);
    watch(&input, EPOLLIN);
    first = take_reading();
    while (!input_ended) poll_once(100);
    last = take_reading();
}

static void print_result(double opening, uint64_t undelivered) {
    double seconds = (double)(last.at - first.at) / 1e9;
    uint64_t deliveries = last.deliveries - first.deliveries, bytes = last.event_bytes - first.event_bytes;
    printf("{\"mode\": \"%s\", \"connections\": %u, \"opening_seconds\": %.3f, \"seconds\": %.4f", options.mode,
           options.connections, opening, seconds);
    printf(", \"deliveries\": %llu, \"events_done\": %llu, \"acknowledged\": %llu", (unsigned long long)deliveries,
           (unsigned long long)(last.events_done - first.events_done), (unsigned long long)(last.acknowledged - first.acknowledged));
    printf(", \"deliveries_in_all\": %llu, \"pings\": %llu, \"sender_connections\": %u", (unsigned long long)subscribers.events,
           (unsigned long long)subscribers.pings, senders.open);
    printf(", \"event_bytes\": %.1f, \"undelivered\": %llu", deliveries ? (double)bytes / (double)deliveries : 0,
           (unsigned long long)undelivered);
    if (mode == MODE_OPEN)
        printf(", \"events\": %llu", (unsigned long long)((requests_total - requests_warm) * options.batch));
    if (latency.total)
        printf(", \"latency_ms\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f, \"samples\": %llu}",
               (double)hist_quantile(&latency, 0.5) / 1e6, (double)hist_quantile(&latency, 0.9) / 1e6,
               (double)hist_quantile(&latency, 0.99) / 1e6, (double)latency.max / 1e6, (unsigned long long)latency.total);
    printf(", \"cpu_seconds\": {");
    for (unsigned i = 0; i < options.pid_count; i++)
        printf("%s\"%d\": %.3f", i ? ", " : "", options.pids[i], last.cpu[i] - first.cpu[i]);
    printf("}, \"generator_cpu_seconds\": %.3f}\n", last.own_cpu - first.own_cpu);
}

static void usage(FILE *out) {
    fputs("usage: load --port P [--host A] [--mode closed|open|durable|idle] [--connections N] [--targets FILE]\n"
          "            [--protocol socketio|signalr|placeos] [--subscribe PACKET] [--ingest-targets FILE] [--header 'Name: value']... [--body FILE]\n"
          "            [--in-flight K] [--control-port P] [--rate R] [--batch B] [--senders S]\n"
          "            [--warmup S] [--seconds S] [--drain S] [--pids P,P,...]\n", out);
}

static void parse_options(int argc, char **argv) {
    static const struct option names[] = {
        {"host", 1, 0, 'H'}, {"port", 1, 0, 'p'}, {"mode", 1, 0, 'm'}, {"connections", 1, 0, 'n'}, {"targets", 1, 0, 't'},
        {"protocol", 1, 0, 'o'}, {"subscribe", 1, 0, 's'}, {"ingest-targets", 1, 0, 'i'}, {"header", 1, 0, 'a'}, {"body", 1, 0, 'b'},
        {"in-flight", 1, 0, 'k'}, {"control-port", 1, 0, 'c'}, {"rate", 1, 0, 'r'}, {"batch", 1, 0, 'B'},
        {"senders", 1, 0, 'S'}, {"warmup", 1, 0, 'w'}, {"seconds", 1, 0, 'd'}, {"drain", 1, 0, 'D'}, {"pids", 1, 0, 'P'},
        {"help", 0, 0, 'h'}, {0, 0, 0, 0}};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'H': options.host = optarg; break;
        case 'p': options.port = atoi(optarg); break;
        case 'm': options.mode = optarg; break;
        case 'n': options.connections = (unsigned)atoi(optarg); break;
        case 't': options.targets_path = optarg; break;
        case 'o': options.protocol = optarg; break;
        case 's': subscribe_packet = optarg; break;
        case 'i': options.ingest_targets_path = optarg; break;
        case 'a':
            if (strlen(options.headers) + strlen(optarg) + 3 > sizeof options.headers) fail("too many headers");
            strcat(strcat(options.headers, optarg), "\r\n");
            break;
        case 'b': options.body_path = optarg; break;
        case 'k': options.in_flight = (unsigned)atoi(optarg); break;
        case 'c': options.control_port = atoi(optarg); break;
        case 'r': options.rate = atof(optarg); break;
        case 'B': options.batch = (unsigned)atoi(optarg); break;
        case 'S': options.sender_count = (unsigned)atoi(optarg); break;
        case 'w': options.warmup = atof(optarg); break;
        case 'd': options.seconds = atof(optarg); break;
        case 'D': options.drain = atof(optarg); break;
        case 'P':
            for (char *p = strtok(optarg, ","); p && options.pid_count < MAX_PIDS; p = strtok(NULL, ","))
                options.pids[options.pid_count++] = atoi(p);
            break;
        case 'h': usage(stdout); exit(0);
        default: usage(stderr); exit(2);
        }
    }
}

static void check_options(void) {
    static const char *const mode_names[] = {"closed", "open", "durable", "idle"};
    unsigned m = 0;
    while (m < 4 && strcmp(options.mode, mode_names[m])) m++;
    if (m == 4 || !options.port) {
        usage(stderr);
        exit(2);
    }
    mode = (enum mode)m;
    if (!strcmp(options.protocol, "signalr")) subscriber_protocol = PROTOCOL_SIGNALR;
    else if (!strcmp(options.protocol, "placeos")) subscriber_protocol = PROTOCOL_PLACEOS;
    else if (strcmp(options.protocol, "socketio")) fail("--protocol must be socketio, signalr or placeos");
    if (options.connections && !options.targets_path) fail("subscribers need --targets");
    if (options.connections && subscriber_protocol != PROTOCOL_SIGNALR && !subscribe_packet) fail("this protocol needs --subscribe");
    if (mode != MODE_IDLE && !options.control_port && (!options.body_path || !options.ingest_targets_path))
        fail("this mode needs --body and --ingest-targets");
    if (options.in_flight == 0 || options.in_flight > MAX_IN_FLIGHT) fail("--in-flight must be 1 to %d", MAX_IN_FLIGHT);
    if (options.batch == 0 || options.rate <= 0) fail("--batch and --rate must be positive");
    if (options.control_port && mode != MODE_CLOSED) fail("--control-port is for closed mode");
    if (mode == MODE_CLOSED && options.batch != 1) fail("closed mode sends one event a request");
}

static void set_up(void) {
    static struct request_form form;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < options.connections + 100) fail("the limit of open files (%lu) is too low", (unsigned long)limit.rlim_cur);
    server_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    if (inet_pton(AF_INET, options.host, &server_address.sin_addr) != 1) fail("--host must be an IPv4 address");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (options.ingest_targets_path) ingest_targets = read_lines(options.ingest_targets_path, &ingest_target_count);
    if (mode == MODE_CLOSED && ingest_target_count != 1) fail("closed mode has one ingest target");
    if (options.connections) {
        targets = read_lines(options.targets_path, &target_count);
        subs = calloc(options.connections, sizeof *subs);
    }
    if (options.body_path) {
        size_t lines;
        form = (struct request_form){.targets = ingest_targets, .target_count = ingest_target_count, .headers = options.headers,
                                     .template = read_lines(options.body_path, &lines)[0], .batch = options.batch};
        if (lines != 1) fail("the event template must be one line");
        sender_setup(&form);
    }
}

int main(int argc, char **argv) {
    uint64_t undelivered = 0;
    parse_options(argc, argv);
    check_options();
    set_up();
    double opening = open_subscribers();
    last_progress = now_ns();
    switch (mode) {
    case MODE_CLOSED: run_closed(); break;
    case MODE_OPEN: undelivered = run_open(); break;
    case MODE_DURABLE: run_durable(); break;
    case MODE_IDLE: run_idle(); break;
    }
    print_result(opening, undelivered);
    return 0;
}
