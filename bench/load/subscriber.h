/* Subscribers on WebSocket, as a client sees it, of one of three protocols. No JSON is parsed. Pings are answered.
 *
 * Socket.IO 5 on Engine.IO 4: a subscriber sends the upgrade request, waits for the Engine.IO open packet, sends `40`,
 * waits for `40{...}`, sends its subscription as an event that asks for an acknowledgement, waits for `43...` and is then
 * ready. From there on it counts event frames by their headers: a text frame whose payload begins with `42[` is one event.
 *
 * SignalR, JSON, without negotiation: it sends the upgrade request, then the handshake, waits for `{}` and is ready. Each
 * message ends with 0x1e, wherever frames begin and end; one that begins with `{"type":1,` is one event.
 *
 * PlaceOS: it sends the upgrade request, then its subscription, a `bind` of a variable that has no value yet, and is ready
 * with the first answer. Each later frame that begins with `{"id"` is one event. A `#` in the subscription becomes the
 * number of the subscriber. */
#ifndef LOAD_SUBSCRIBER_H
#define LOAD_SUBSCRIBER_H

#include "net.h"

#include <stdbool.h>

enum protocol { PROTOCOL_SOCKET_IO, PROTOCOL_SIGNALR, PROTOCOL_PLACEOS };
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
    /* SignalR: the message being read, which ends with 0x1e */
    uint64_t message_size;
    uint8_t message_have;
    char message[PEEK_SIZE];
};

struct subscriber_totals {
    uint64_t events;      /* of all subscribers */
    uint64_t event_bytes; /* payload bytes of the events */
    uint64_t pings;       /* of either protocol and of WebSocket, answered */
    uint32_t ready;       /* subscribers that may now receive events */
    uint32_t opening;     /* dialled and not ready yet */
};

extern struct subscriber_totals subscribers;
extern enum protocol subscriber_protocol;
extern const char *subscribe_packet; /* what subscribes, such as 420["subscribeIsolated",...] */

void subscriber_open(struct subscriber *s, const char *target, uint32_t group);
/* Handles readiness of the socket; returns the number of events that became complete. */
uint64_t subscriber_ready(struct subscriber *s);

#endif
