/*
 * HEALTHCHECK: what the sidecar says of itself and its engine (GET /health). Not a Node program: it runs every few seconds within the member's memory.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int main(void) {
  static const char request[] = "GET /health HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\n\r\n";
  const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/member/admin.sock"};
  const struct timeval patience = {.tv_sec = 3};
  char answer[16] = {0};
  size_t used = 0;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return 1;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) return 1;
  if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1) return 1;
  while (used < 12) {
    ssize_t got = recv(fd, answer + used, 12 - used, 0);
    if (got <= 0) return 1;
    used += (size_t)got;
  }
  return strncmp(answer, "HTTP/1.1 200", 12) == 0 ? 0 : 1;
}
