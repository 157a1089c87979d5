/* The ceiling: what this machine can do at most, and proof that the load generator is not the bottleneck.
 *
 * A server that does nothing but send(2): it shakes hands, joins as many copies of one fixed frame as the control port
 * asks for, and writes them to every subscriber in a plain loop. It reads from clients only as much as it must.
 * Usage: bare_loop EVENT.json; the first line of standard output is {"port", "control_port"}. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FDS 65536
#define MAX_JOIN 1024

static int ready[MAX_FDS], ready_count;
static char stage[MAX_FDS];
static char frame[4096], *joined;
static size_t frame_size;

static void build_frame(const char *path) {
    char event[2048] = "", topic[128];
    FILE *f = fopen(path, "r");
    if (!f || !fgets(event, sizeof event, f) || sscanf(strstr(event, "\"topic\":\""), "\"topic\":\"%127[^\"]", topic) != 1) exit(2);
    event[strcspn(event, "\n")] = 0;
    int n = snprintf(frame + 4, sizeof frame - 4, "42[\"%s\",%s]", topic, event);
    frame[0] = (char)0x81;
    frame[1] = 126;
    frame[2] = (char)(n >> 8);
    frame[3] = (char)n;
    frame_size = (size_t)n + 4;
    joined = malloc(frame_size * MAX_JOIN);
    for (int i = 0; i < MAX_JOIN; i++) memcpy(joined + (size_t)i * frame_size, frame, frame_size);
}

static void say(int fd, const char *text) {
    char out[128];
    size_t n = strlen(text);
    out[0] = (char)0x81;
    out[1] = (char)n;
    memcpy(out + 2, text, n);
    if (send(fd, out, n + 2, MSG_NOSIGNAL) < 0) close(fd);
}

static void shake_hands(int fd) {
    char in[4096];
    ssize_t n = recv(fd, in, sizeof in, 0);
    if (n <= 0) {
        for (int i = 0; i < ready_count; i++)
            if (ready[i] == fd) ready[i--] = ready[--ready_count];
        close(fd);
        return;
    }
    switch (stage[fd]++) {
    case 0: { /* the accept value belongs to the fixed key of the load generator (RFC 6455 1.3) */
        static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0) close(fd);
        say(fd, "0{\"sid\":\"x\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}");
        break;
    }
    case 1: say(fd, "40{\"sid\":\"x\"}"); break;
    case 2:
        say(fd, "430[{\"ok\":true}]");
        ready[ready_count++] = fd;
    }
}

static int listen_any(int *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0) exit(2);
    getsockname(fd, (struct sockaddr *)&a, &size);
    *port = ntohs(a.sin_port);
    return fd;
}

int main(int argc, char **argv) {
    int port, control_port, one = 1, control_fd = -1, epoll_fd = epoll_create1(0);
    struct rlimit limit;
    if (argc != 2) return 2;
    build_frame(argv[1]);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener = listen_any(&port), control_listener = listen_any(&control_port);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, control_listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = control_listener});
    printf("{\"port\": %d, \"control_port\": %d}\n", port, control_port);
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener || fd == control_listener) {
                int client = accept(fd, NULL, NULL);
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                stage[client] = 0;
                if (fd == control_listener) control_fd = client;
                epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client, &(struct epoll_event){.events = EPOLLIN, .data.fd = client});
            } else if (fd == control_fd) {
                char bytes[MAX_JOIN];
                ssize_t count = recv(fd, bytes, sizeof bytes, 0);
                if (count <= 0) {
                    close(fd);
                    control_fd = -1;
                    continue;
                }
                for (int k = 0; k < ready_count; k++)
                    if (send(ready[k], joined, frame_size * (size_t)count, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return 3;
            } else {
                shake_hands(fd);
            }
        }
    }
}
