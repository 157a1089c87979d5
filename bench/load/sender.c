#include "sender.h"

#include "stats.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct sender_totals senders;

static const struct request_form *form;
static struct sender *free_list;
static char **heads; /* request line and headers, one for each target */
static char *body;   /* the body of the next request, numbered in place */
static size_t body_size, event_size, mark_offset;
static uint64_t sequence; /* of events; begins with the time, so that no later run on the same server repeats an id */
static size_t turn;

void sender_setup(const struct request_form *f) {
    form = f;
    const char *mark = strstr(f->template, SEQUENCE_MARK);
    if (!mark) fail("the event template has no %s", SEQUENCE_MARK);
    mark_offset = (size_t)(mark - f->template);
    event_size = strlen(f->template);
    bool array = f->batch > 1;
    sequence = (uint64_t)time(NULL) % 10000000 * 100000;
    body_size = f->batch * (event_size + 1) - 1 + (array ? 2 : 0);
    body = malloc(body_size + 1);
    char *p = body;
    if (array) *p++ = '[';
    for (unsigned i = 0; i < f->batch; i++) {
        if (i) *p++ = ',';
        memcpy(p, f->template, event_size);
        p += event_size;
    }
    if (array) *p = ']';
    heads = malloc(f->target_count * sizeof *heads);
    for (size_t i = 0; i < f->target_count; i++)
        if (asprintf(&heads[i],
                     "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n",
                     f->targets[i], inet_ntoa(server_address.sin_addr), ntohs(server_address.sin_port), body_size,
                     f->headers) < 0)
            fail("out of memory");
}

static void number_events(void) {
    char digits[32];
    for (unsigned i = 0; i < form->batch; i++) {
        snprintf(digits, sizeof digits, "%012llu", (unsigned long long)++sequence);
        memcpy(body + (form->batch > 1) + i * (event_size + 1) + mark_offset, digits, sizeof SEQUENCE_MARK - 1);
    }
}

static struct sender *take(void) {
    struct sender *s = free_list;
    if (s) {
        free_list = s->next_free;
        return s;
    }
    s = calloc(1, sizeof *s);
    s->poll.kind = KIND_SENDER;
    s->poll.fd = dial(&server_address);
    senders.open++;
    watch(&s->poll, EPOLLIN | EPOLLOUT); /* writable tells that the connection is there */
    return s;
}

static void push_out(struct sender *s) {
    ssize_t n = send(s->poll.fd, s->out + s->out_sent, s->out_size - s->out_sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != ENOTCONN) fail("sender cannot send: %s", strerror(errno));
    if (n > 0) s->out_sent += (size_t)n;
    if (s->out_sent < s->out_size) rewatch(&s->poll, EPOLLIN | EPOLLOUT);
}

size_t sender_post(void) {
    struct sender *s = take();
    size_t target = turn++ % form->target_count, head_size = strlen(heads[target]);
    number_events();
    s->out = realloc(s->out, head_size + body_size);
    memcpy(s->out, heads[target], head_size);
    memcpy(s->out + head_size, body, body_size);
    s->out_size = head_size + body_size;
    s->out_sent = 0;
    s->in_have = 0;
    s->busy = true;
    s->sent_at = now_ns();
    senders.in_flight++;
    push_out(s);
    return target;
}

/* Bytes of the answer in all once its headers are there, or 0 while they are not. */
static size_t answer_size(struct sender *s) {
    char *end = memmem(s->in, s->in_have, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - s->in) + 4;
    for (char *line = memchr(s->in, '\n', head); line && line < end; line = memchr(line, '\n', (size_t)(end + 2 - line))) {
        line++;
        if (!strncasecmp(line, "content-length:", 15)) return head + strtoul(line + 15, NULL, 10);
        if (!strncasecmp(line, "transfer-encoding:", 18)) fail("answers of unknown length are not supported");
    }
    return head;
}

static bool answer_complete(struct sender *s) {
    size_t size = answer_size(s);
    if (size == 0 || s->in_have < size) return false;
    if (s->in_have > size) fail("more bytes than the answer has");
    if (s->in_have < 12 || s->in[9] != '2') fail("ingest refused: %.*s", (int)(size < 400 ? size : 400), s->in);
    senders.requests++;
    senders.events += form->batch;
    senders.in_flight--;
    s->busy = false;
    s->next_free = free_list;
    free_list = s;
    return true;
}

/* A server may close a connection that has been idle for a while; that is no fault. */
static void forget(struct sender *s) {
    struct sender **link = &free_list;
    if (s->busy) fail("lost a sender before its answer");
    while (*link && *link != s) link = &(*link)->next_free;
    if (*link) *link = s->next_free;
    close(s->poll.fd);
    senders.open--;
    free(s->out);
    free(s->in);
    free(s);
}

bool sender_ready(struct sender *s, uint32_t epoll_events, uint64_t *took) {
    if (epoll_events & EPOLLOUT) {
        rewatch(&s->poll, EPOLLIN);
        if (s->out_sent < s->out_size) push_out(s);
    }
    if (!(epoll_events & ~(uint32_t)EPOLLOUT)) return false;
    if (s->in_room - s->in_have < 4096) s->in = realloc(s->in, s->in_room += 16384);
    ssize_t n = recv(s->poll.fd, s->in + s->in_have, s->in_room - s->in_have, 0);
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0 && s->busy) fail("lost a sender: %s", strerror(errno));
    if (n <= 0) {
        forget(s);
        return false;
    }
    s->in_have += (size_t)n;
    if (!s->busy) fail("answer without a request: %.*s", (int)(n < 200 ? n : 200), s->in);
    if (!answer_complete(s)) return false;
    *took = now_ns() - s->sent_at;
    return true;
}
