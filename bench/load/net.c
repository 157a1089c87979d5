#include "net.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

int epoll_fd = -1;
struct sockaddr_in server_address;

void fail(const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("{\"error\": \"");
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') putchar('\\');
        putchar((unsigned char)*c < 0x20 ? ' ' : *c);
    }
    printf("\"}\n");
    exit(1);
}

int dial(const struct sockaddr_in *address) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    return fd;
}

static void control(int operation, struct pollable *p, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = p};
    if (epoll_ctl(epoll_fd, operation, p->fd, &e) < 0) fail("epoll_ctl: %s", strerror(errno));
}

void watch(struct pollable *p, uint32_t events) { control(EPOLL_CTL_ADD, p, events); }
void rewatch(struct pollable *p, uint32_t events) { control(EPOLL_CTL_MOD, p, events); }

char **read_lines(const char *path, size_t *count) {
    FILE *f = fopen(path, "r");
    if (!f) fail("%s: %s", path, strerror(errno));
    char **lines = NULL, *line = NULL;
    size_t used = 0, room = 0, size = 0;
    ssize_t n;
    while ((n = getline(&line, &size, f)) >= 0) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
        if (n == 0) continue;
        if (used == room) lines = realloc(lines, (room = room ? room * 2 : 64) * sizeof *lines);
        lines[used++] = strdup(line);
    }
    free(line);
    fclose(f);
    if (used == 0) fail("%s: no lines", path);
    *count = used;
    return lines;
}
