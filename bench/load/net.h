/* What subscribers and senders share: the epoll set, the server's address, and how a run fails. */
#ifndef LOAD_NET_H
#define LOAD_NET_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

enum kind { KIND_SUBSCRIBER, KIND_SENDER, KIND_CONTROL, KIND_TIMER, KIND_STDIN };

/* First member of everything registered with epoll, so that the main loop knows whom an event belongs to. */
struct pollable {
    enum kind kind;
    int fd;
};

extern int epoll_fd;
extern struct sockaddr_in server_address;

/* Ends the run: prints {"error": "..."} on standard output and exits with 1. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A non-blocking TCP connection to the server, under way; TCP_NODELAY is set. */
int dial(const struct sockaddr_in *address);
/* Registers, changes or drops interest; events are EPOLLIN and friends, 0 on first use registers none. */
void watch(struct pollable *p, uint32_t events);
void rewatch(struct pollable *p, uint32_t events);
/* A whole file as lines without their ends; the caller keeps them for the life of the process. */
char **read_lines(const char *path, size_t *count);

#endif
