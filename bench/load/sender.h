/* Senders: POST requests over HTTP/1.1 keep-alive, one at a time on each connection, from a pool that grows as needed. */
#ifndef LOAD_SENDER_H
#define LOAD_SENDER_H

#include "net.h"

#include <stdbool.h>

struct sender {
    struct pollable poll;
    struct sender *next_free;
    char *out;        /* the request, events already numbered */
    size_t out_size, out_sent;
    char *in;         /* the answer so far */
    size_t in_have, in_room;
    bool busy;
    uint64_t sent_at; /* when the request was handed to the kernel, ns */
};

struct sender_totals {
    uint64_t requests;  /* answered with 2xx */
    uint64_t events;    /* in those requests */
    uint32_t open;      /* connections */
    uint32_t in_flight; /* requests without an answer yet */
};

extern struct sender_totals senders;

/* What every request is made of. The template of an event holds SEQUENCE_MARK, which a running number replaces. */
#define SEQUENCE_MARK "@@@@@@@@@@@@"
struct request_form {
    char **targets; /* request targets, used in turn */
    size_t target_count;
    const char *headers;  /* further header lines, each with its line end; may be empty */
    const char *template; /* JSON of one event */
    unsigned batch;       /* events a request; more than one makes a JSON array */
};
void sender_setup(const struct request_form *form);

/* Sends the next request; returns the index of the ingest target it went to. */
size_t sender_post(void);
/* Handles readiness; returns true when an answer has arrived, whose duration is then in *took (ns). */
bool sender_ready(struct sender *s, uint32_t epoll_events, uint64_t *took);

#endif
