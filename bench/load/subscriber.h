/* Subscribers: Socket.IO 5 on Engine.IO 4 on WebSocket, as a client sees it.
 *
 * A subscriber sends the upgrade request, waits for the Engine.IO open packet, sends `40`, waits for `40{...}`, sends
 * its subscription as an event that asks for an acknowledgement, waits for `43...` and is then ready. From there on it
 * counts event frames by their headers: a text frame whose payload begins with `42[` is one event. Pings of Engine.IO
 * and of WebSocket are answered. No JSON is parsed. */
#ifndef LOAD_SUBSCRIBER_H
#define LOAD_SUBSCRIBER_H

#include "net.h"

#include <stdbool.h>

enum stage { STAGE_NEW, STAGE_UPGRADE, STAGE_OPEN, STAGE_CONNECT, STAGE_SUBSCRIBE, STAGE_READY };

#define PEEK_SIZE 125 /* the longest payload of a control frame, which a pong repeats */

struct subscriber {
    struct pollable poll;
    enum stage stage;
    uint32_t group;     /* index of the ingest target whose events it gets */
    uint64_t events;    /* event frames received whole */
    const char *target; /* request target of the upgrade */
    /* the frame being read */
    uint64_t left;      /* payload bytes still to come */
    uint64_t length;    /* payload bytes in all */
    uint8_t opcode;
    bool in_payload;
    uint8_t header[10];
    uint8_t header_have;
    uint8_t peek_have;
    uint8_t peek[PEEK_SIZE];
};

struct subscriber_totals {
    uint64_t events;      /* of all subscribers */
    uint64_t event_bytes; /* payload bytes of the events */
    uint64_t pings;       /* Engine.IO and WebSocket pings answered */
    uint32_t ready;       /* subscribers that may now receive events */
    uint32_t opening;     /* dialled and not ready yet */
};

extern struct subscriber_totals subscribers;
extern const char *subscribe_packet; /* Socket.IO packet of the subscription, such as 420["subscribeIsolated",...] */

void subscriber_open(struct subscriber *s, const char *target, uint32_t group);
/* Handles readiness of the socket; returns the number of events that became complete. */
uint64_t subscriber_ready(struct subscriber *s);

#endif
