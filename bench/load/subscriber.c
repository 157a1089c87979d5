#include "subscriber.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct subscriber_totals subscribers;
enum protocol subscriber_protocol;
const char *subscribe_packet;

/* Every message of SignalR's JSON encoding ends with this. */
#define MESSAGE_END '\x1e'

/* Small enough to stay in the second-level cache, large enough for a join of many frames. */
static uint8_t read_buffer[128 * 1024];

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

static void send_all(struct subscriber *s, const void *data, size_t size) {
    /* A client of this kind sends little: a full send buffer means that the server has stopped reading. */
    ssize_t n = send(s->poll.fd, data, size, MSG_NOSIGNAL);
    if (n < 0 || (size_t)n != size) fail("subscriber cannot send: %s", n < 0 ? strerror(errno) : "buffer full");
}

/* A client must mask (RFC 6455 5.3); the key of zeros leaves the payload as it is. */
static void send_frame(struct subscriber *s, uint8_t opcode, const void *payload, size_t size) {
    uint8_t frame[4096];
    size_t head = size < 126 ? 6 : 8;
    if (head + size > sizeof frame) fail("subscription is longer than %zu bytes", sizeof frame - 8);
    frame[0] = 0x80 | opcode;
    if (size < 126) {
        frame[1] = 0x80 | (uint8_t)size;
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = (uint8_t)(size >> 8);
        frame[3] = (uint8_t)size;
    }
    memset(frame + head - 4, 0, 4);
    memcpy(frame + head, payload, size);
    send_all(s, frame, head + size);
}

static void send_text(struct subscriber *s, const char *text) { send_frame(s, OP_TEXT, text, strlen(text)); }

/* The subscription with the subscriber's number in it. */
static void send_bind(struct subscriber *s) {
    static unsigned number;
    char text[2048];
    const char *mark = strchr(subscribe_packet, '#');
    int before = (int)(mark ? (size_t)(mark - subscribe_packet) : strlen(subscribe_packet));
    int n = mark ? snprintf(text, sizeof text, "%.*s%u%s", before, subscribe_packet, ++number, mark + 1)
                 : snprintf(text, sizeof text, "%s", subscribe_packet);
    if (n < 0 || (size_t)n >= sizeof text) fail("subscription is too long");
    send_text(s, text);
}

void subscriber_open(struct subscriber *s, const char *target, uint32_t group) {
    memset(s, 0, sizeof *s);
    s->poll.kind = KIND_SUBSCRIBER;
    s->target = target;
    s->group = group;
    s->poll.fd = dial(&server_address);
    subscribers.opening++;
    watch(&s->poll, EPOLLOUT);
}

static void send_upgrade(struct subscriber *s) {
    char request[4096];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(s->poll.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) fail("subscriber cannot connect: %s", strerror(error));
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     s->target, inet_ntoa(server_address.sin_addr), ntohs(server_address.sin_port));
    if (n < 0 || (size_t)n >= sizeof request) fail("request target is too long");
    send_all(s, request, (size_t)n);
    s->stage = STAGE_UPGRADE;
    rewatch(&s->poll, EPOLLIN);
}

static void handshake_text(struct subscriber *s) {
    const char *text = (const char *)s->peek;
    int shown = s->peek_have;
    if (subscriber_protocol == PROTOCOL_PLACEOS) {
        if (!memmem(text, (size_t)shown, "\"type\":\"success\"", 16)) fail("bind refused: %.*s", shown, text);
        s->stage = STAGE_READY;
        subscribers.ready++;
        subscribers.opening--;
    } else if (s->stage == STAGE_OPEN && text[0] == '0') {
        send_text(s, "40");
        s->stage = STAGE_CONNECT;
    } else if (s->stage == STAGE_CONNECT && shown >= 2 && !memcmp(text, "40", 2)) {
        send_text(s, subscribe_packet);
        s->stage = STAGE_SUBSCRIBE;
    } else if (s->stage == STAGE_SUBSCRIBE && shown >= 2 && !memcmp(text, "43", 2)) {
        s->stage = STAGE_READY;
        subscribers.ready++;
        subscribers.opening--;
    } else {
        fail("unexpected packet at stage %d: %.*s", (int)s->stage, shown, text);
    }
}

static int begins_with(const struct subscriber *s, const char *text) {
    size_t size = strlen(text);
    return s->message_have >= size && !memcmp(s->message, text, size);
}

/* A message of SignalR is whole; its first bytes are in message. Returns 1 if it was an event. */
static uint64_t message_done(struct subscriber *s) {
    if (s->stage != STAGE_READY) {
        if (s->message_size != 2 || !begins_with(s, "{}")) fail("handshake refused: %.*s", s->message_have, s->message);
        s->stage = STAGE_READY;
        subscribers.ready++;
        subscribers.opening--;
    } else if (begins_with(s, "{\"type\":1,")) {
        s->events++;
        subscribers.events++;
        subscribers.event_bytes += s->message_size + 1;
        return 1;
    } else if (begins_with(s, "{\"type\":6}")) {
        send_text(s, "{\"type\":6}\x1e");
        subscribers.pings++;
    } else if (begins_with(s, "{\"type\":7")) {
        fail("server closed a subscriber: %.*s", s->message_have, s->message);
    }
    return 0;
}

static uint64_t count_messages(struct subscriber *s, const uint8_t *p, const uint8_t *end) {
    uint64_t events = 0;
    while (p < end) {
        const uint8_t *last = memchr(p, MESSAGE_END, (size_t)(end - p));
        size_t n = (size_t)((last ? last : end) - p);
        size_t take = n < (size_t)(PEEK_SIZE - s->message_have) ? n : (size_t)(PEEK_SIZE - s->message_have);
        memcpy(s->message + s->message_have, p, take);
        s->message_have += (uint8_t)take;
        s->message_size += n;
        if (!last) break;
        events += message_done(s);
        s->message_have = 0;
        s->message_size = 0;
        p = last + 1;
    }
    return events;
}

static bool carries_messages(const struct subscriber *s) {
    return subscriber_protocol == PROTOCOL_SIGNALR && (s->opcode == OP_TEXT || s->opcode == OP_CONTINUATION);
}

/* The frame is whole; its first bytes are in peek. Returns 1 if it was an event. */
static int frame_done(struct subscriber *s) {
    const char *text = (const char *)s->peek;
    if (carries_messages(s)) return 0;
    if (s->opcode == OP_TEXT) {
        bool is_placeos = subscriber_protocol == PROTOCOL_PLACEOS;
        bool may_be_event = !is_placeos || s->stage == STAGE_READY; /* the answer to the subscription begins alike */
        if (may_be_event && s->peek_have >= 3 && !memcmp(text, is_placeos ? "{\"i" : "42[", 3)) {
            s->events++;
            subscribers.events++;
            subscribers.event_bytes += s->length;
            return 1;
        }
        if (s->length == 1 && text[0] == '2') {
            send_text(s, "3");
            subscribers.pings++;
        } else if (s->stage != STAGE_READY) {
            handshake_text(s);
        }
    } else if (s->opcode == OP_PING) {
        send_frame(s, OP_PONG, s->peek, s->peek_have);
        subscribers.pings++;
    } else if (s->opcode == OP_CLOSE) {
        int code = s->peek_have >= 2 ? s->peek[0] << 8 | s->peek[1] : 0;
        fail("server closed a subscriber with %d", code);
    }
    return 0;
}

/* Length of the header that begins with these two bytes; servers do not mask. */
static size_t header_length(const uint8_t *h) {
    if (h[1] & 0x80) fail("server sent a masked frame");
    return h[1] == 126 ? 4 : h[1] == 127 ? 10 : 2;
}

static void header_done(struct subscriber *s, const uint8_t *h) {
    s->opcode = h[0] & 0x0f;
    if (h[0] & 0x70) fail("server set reserved bits although no extension was offered");
    if (h[1] < 126) {
        s->length = h[1];
    } else if (h[1] == 126) {
        s->length = (uint64_t)h[2] << 8 | h[3];
    } else {
        s->length = 0;
        for (int i = 2; i < 10; i++) s->length = s->length << 8 | h[i];
    }
    s->left = s->length;
    s->peek_have = 0;
    s->header_have = 0;
    s->in_payload = true;
}

static uint64_t count_frames(struct subscriber *s, const uint8_t *p, const uint8_t *end) {
    uint64_t events = 0;
    for (;;) {
        if (s->in_payload) {
            size_t n = (uint64_t)(end - p) < s->left ? (size_t)(end - p) : (size_t)s->left;
            /* An event needs three bytes to be known; anything else is short or kept for an error message. */
            size_t wanted = s->opcode == OP_TEXT && s->stage == STAGE_READY ? 3 : PEEK_SIZE;
            if (carries_messages(s)) {
                events += count_messages(s, p, p + n);
            } else if (s->peek_have < wanted) {
                size_t take = n < wanted - s->peek_have ? n : wanted - s->peek_have;
                memcpy(s->peek + s->peek_have, p, take);
                s->peek_have += (uint8_t)take;
            }
            p += n;
            s->left -= n;
            if (s->left) return events;
            s->in_payload = false;
            events += (uint64_t)frame_done(s);
        }
        if (p == end) return events;
        if (s->header_have == 0 && end - p >= 2 && (size_t)(end - p) >= header_length(p)) {
            const uint8_t *h = p;
            p += header_length(p);
            header_done(s, h);
            continue;
        }
        s->header[s->header_have++] = *p++;
        if (s->header_have >= 2 && s->header_have == header_length(s->header)) header_done(s, s->header);
    }
}

static const uint8_t *upgrade_answer(struct subscriber *s, const uint8_t *data, size_t *size) {
    /* Answers to the upgrade come in one piece from every server here: a few headers, written at once. */
    const uint8_t *end = memmem(data, *size, "\r\n\r\n", 4);
    if (!end) fail("answer to the upgrade came in pieces");
    if (*size < 12 || memcmp(data + 9, "101", 3)) fail("upgrade refused: %.*s", (int)(*size < 300 ? *size : 300), data);
    end += 4;
    *size -= (size_t)(end - data);
    s->stage = STAGE_OPEN;
    if (subscriber_protocol == PROTOCOL_PLACEOS) send_bind(s);
    if (subscriber_protocol == PROTOCOL_SIGNALR) send_text(s, "{\"protocol\":\"json\",\"version\":1}\x1e");
    return end;
}

uint64_t subscriber_ready(struct subscriber *s) {
    if (s->stage == STAGE_NEW) {
        send_upgrade(s);
        return 0;
    }
    ssize_t n = recv(s->poll.fd, read_buffer, sizeof read_buffer, 0);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) fail("lost a subscriber: %s", n < 0 ? strerror(errno) : "closed by the server");
    const uint8_t *data = read_buffer;
    size_t size = (size_t)n;
    if (s->stage == STAGE_UPGRADE) data = upgrade_answer(s, data, &size);
    return count_frames(s, data, data + size);
}
