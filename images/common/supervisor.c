/*
 * Under tini: starts the engine when the sidecar says so, and kills it when the sidecar says so or has stopped saying that it is well. Keeps the
 * sidecar and the endpoint (HAProxy) running, each by itself. README.md has the protocol; rules in brackets are those of the HA protocol.
 *
 *   supervisor ENDPOINT SIDECAR [ARGUMENT]...      ENDPOINT: a program that is kept running, `-` for none
 *
 * One thread, one loop, no memory from the heap but the C library's own. The engine is ended by SIGKILL only: SIGTERM would acknowledge what is on
 * no other member (D1).
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef RUN_AS
#define RUN_AS 7481 /* user and group `mysql` of the image: engine, sidecar and endpoint */
#endif

enum {
  SIDECAR_FD = 3,
  LINE_MAX_BYTES = 65536,
  ARGUMENTS_MAX = 512,
  PET_MAX_MS = 60000,         /* a pet reaches no further ahead than this */
  STOP_DEFAULT_SECONDS = 20,  /* from SIGTERM to the end; Docker's own patience must be longer */
  LAST_WAIT_MS = 5000,        /* for a killed engine whose disk hangs, before the container ends all the same */
  SETTLED_MS = 10000,         /* who ran this long is started again at once */
  SCAN_AGAIN_MS = 50,
  CLOSED_MS = 500,
};

/* The service whose member this is, xdb or xcache, is given by who compiles. */
#define HOME "/var/lib/" SERVICE

static const int64_t NEVER = INT64_MAX;
static const char *const FOLDERS[] = {HOME "/db", HOME "/tmp", HOME "/haproxy"};

/* A process that is kept running: again after 0, 0.2, 1, 2, 5, 5, ... seconds. */
struct kept {
  const char *name;
  char **argv;
  pid_t pid; /* 0: does not run */
  bool killed;
  int64_t began;
  int64_t next; /* when it is started again */
  unsigned pauses;
};

static struct kept sidecar = {.name = "sidecar"};
static struct kept endpoint = {.name = "endpoint"};
static struct {
  pid_t pid; /* 0: none */
  bool killed;
  int64_t deadline; /* the sidecar is well until then; means nothing while no engine runs */
} engine;

static pid_t self;
static int channel = -1; /* our end of the sidecar's fd 3 */
static char line[LINE_MAX_BYTES];
static size_t line_used;
static int64_t ending = NEVER; /* SIGTERM was received: everything is over at this time */
static int64_t last_wait = NEVER;
static int64_t scan_next = NEVER;
static int64_t channel_lost = NEVER; /* the sidecar has closed its end: it is gone by then, or it is killed */
static sigset_t mask_before;

/* CLOCK_MONOTONIC in milliseconds: what Node's process.hrtime() counts from, so both sides mean the same. */
static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
  char text[512], out[600];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  for (char *c = text; *c != '\0'; c++)
    if (*c == '"' || *c == '\\') *c = '\'';
  int length = snprintf(out, sizeof out, "{\"name\":\"supervisor\",\"msg\":\"%s\"}\n", text);
  if (write(STDERR_FILENO, out, (size_t)length) < 0) { /* nobody to tell */ }
}

/* The whole group at once; the pid as well, for a child that is not yet in its group. */
static void kill_group(pid_t pid) {
  if (pid <= 0) return;
  kill(-pid, SIGKILL);
  kill(pid, SIGKILL);
}

static void kill_sidecar(const char *why) {
  if (sidecar.pid == 0 || sidecar.killed) return;
  kill_group(sidecar.pid);
  sidecar.killed = true;
  say("the sidecar is killed: %s", why);
}

static void kill_engine(const char *why) {
  if (engine.pid == 0 || engine.killed) return;
  kill_group(engine.pid);
  engine.killed = true;
  say("engine %d is killed: %s", (int)engine.pid, why);
}

/* One line to the sidecar. One that does not read is deaf and is started anew; it is then told how things stand. */
__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...) {
  char text[256];
  va_list arguments;
  if (channel < 0) return;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text - 1, format, arguments);
  va_end(arguments);
  if (length > (int)sizeof text - 2) length = (int)sizeof text - 2;
  text[length++] = '\n';
  if (send(channel, text, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) != length) kill_sidecar("it does not read its lines");
}

static void tell_state(void) {
  if (engine.pid == 0) tell("hello 1 engine none");
  else tell("hello 1 engine %s %d", engine.killed ? "killed" : "running", (int)engine.pid);
}

/* In the child: its own group, the image's user, death with the supervisor. */
static void become(int fd3) {
  setpgid(0, 0);
  if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(RUN_AS) != 0 || setuid(RUN_AS) != 0)) _exit(126);
  /* After the change of user, which forgets it. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != self) _exit(126);
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null >= 0) dup2(null, STDIN_FILENO);
  if (fd3 == SIDECAR_FD) fcntl(fd3, F_SETFD, 0);
  else if (fd3 >= 0) dup2(fd3, SIDECAR_FD);
  close_range(fd3 >= 0 ? SIDECAR_FD + 1 : SIDECAR_FD, ~0U, 0);
  sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

/* @returns pid, or -1 when no process could be made */
static pid_t launch(char *const argv[], int fd3) {
  pid_t pid = fork();
  if (pid == 0) {
    become(fd3);
    execv(argv[0], argv);
    int error = errno;
    say("%s cannot be started: errno %d", argv[0], error);
    _exit(127);
  }
  if (pid > 0) setpgid(pid, pid);
  return pid;
}

static void start_again_later(struct kept *child) {
  static const int PAUSES_MS[] = {0, 200, 1000, 2000, 5000};
  const unsigned last = sizeof PAUSES_MS / sizeof *PAUSES_MS - 1;
  int64_t now = now_ms();
  if (now - child->began >= SETTLED_MS) child->pauses = 0;
  int pause = PAUSES_MS[child->pauses < last ? child->pauses : last];
  child->pauses++;
  child->next = now + pause;
}

static void start_kept(struct kept *child, int fd3) {
  child->began = now_ms();
  child->next = NEVER;
  child->killed = false;
  child->pid = launch(child->argv, fd3);
  if (child->pid > 0) return;
  child->pid = 0;
  say("there is no room for another process: %s", child->name);
  start_again_later(child);
  if (child->next < child->began + 200) child->next = child->began + 200;
}

static void start_sidecar(void) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    sidecar.next = now_ms() + 200;
    return;
  }
  channel = ends[0];
  line_used = 0;
  /* Before it runs, so that it is the first thing it reads. */
  tell_state();
  start_kept(&sidecar, ends[1]);
  close(ends[1]);
  if (sidecar.pid == 0) {
    close(channel);
    channel = -1;
  }
}

static pid_t parent_of(const char *pid, char *state) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0) return -1;
  text[length] = '\0';
  /* The name before it may hold anything, brackets too. */
  const char *after = strrchr(text, ')');
  int parent = -1;
  if (after == NULL || sscanf(after + 1, " %c %d", state, &parent) != 2) return -1;
  return parent;
}

/*
 * Kills what a sidecar left behind (a backup, a bootstrap): this process is what orphans are given to. They would go on writing beside the next sidecar.
 *
 * @returns how many still live
 */
static int kill_strangers(void) {
  int left = 0;
  DIR *proc = opendir("/proc");
  if (proc == NULL) return 0;
  for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
    char state = '?';
    if (!isdigit((unsigned char)entry->d_name[0]) || parent_of(entry->d_name, &state) != self) continue;
    pid_t pid = (pid_t)atoi(entry->d_name);
    if (pid == engine.pid || pid == sidecar.pid || pid == endpoint.pid || state == 'Z') continue;
    kill(pid, SIGKILL);
    left++;
  }
  closedir(proc);
  return left;
}

static bool ends_with_stop(void) { return ending != NEVER; }

/* -- lines from the sidecar -------------------------------------------------------------------------------------------------------------------- */

/* `pet UNTIL`: it is well until then, in milliseconds of the monotonic clock: a line that is read late counts from when it was written. */
static void on_pet(const char *text) {
  char *end;
  errno = 0;
  long long until = strtoll(text, &end, 10);
  if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0) return tell("refused pet not a number of milliseconds");
  if (until > now_ms() + PET_MAX_MS) return tell("refused pet more than %d s ahead", PET_MAX_MS / 1000);
  engine.deadline = until;
}

/*
 * Splits netstrings (`5:hello,3:all,`) in place.
 *
 * @returns how many, or -1 when the text is anything else, down to a leading zero
 */
static int netstrings(char *text, size_t length, char **into, int most) {
  int count = 0;
  char *const end = text + length;
  while (text < end) {
    size_t size = 0;
    char *const digits = text;
    while (text < end && isdigit((unsigned char)*text) && text - digits < 6) size = size * 10 + (size_t)(*text++ - '0');
    if (text == digits || (*digits == '0' && text - digits > 1) || text == end || *text != ':') return -1;
    *text++ = '\0';
    if (size >= (size_t)(end - text) || text[size] != ',' || count == most) return -1;
    for (size_t i = 0; i < size; i++)
      if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return -1;
    into[count++] = text;
    text[size] = '\0';
    text += size + 1;
  }
  return count;
}

static void on_start(char *text, size_t length) {
  char *argv[ARGUMENTS_MAX + 1];
  if (ends_with_stop()) return tell("refused start the member ends");
  if (engine.pid != 0) return tell("refused start engine %d %s", (int)engine.pid, engine.killed ? "is not gone yet" : "runs");
  if (engine.deadline <= now_ms()) return tell("refused start no pet");
  int count = netstrings(text, length, argv, ARGUMENTS_MAX);
  if (count < 1) return tell("refused start not netstrings");
  if (argv[0][0] != '/') return tell("refused start not a whole path");
  argv[count] = NULL;
  pid_t pid = launch(argv, -1);
  if (pid < 0) return tell("refused start errno %d", errno);
  engine.pid = pid;
  engine.killed = false;
  say("engine %d is started", (int)pid);
  tell("engine started %d", (int)pid);
}

/* @param alive false for what a sidecar that is gone left unread: its kill and its pets count, nothing is begun for it any more (A2) */
static void on_line(char *text, size_t length, bool alive) {
  if (memchr(text, '\0', length) != NULL) return tell("refused line with a zero byte");
  if (strncmp(text, "pet ", 4) == 0) on_pet(text + 4);
  else if (strcmp(text, "kill") == 0) kill_engine("the sidecar says so");
  else if (!alive) return;
  else if (strncmp(text, "start ", 6) == 0) on_start(text + 6, length - 6);
  else if (strcmp(text, "state") == 0) tell_state();
  else tell("refused line not understood");
}

static void read_lines(bool alive) {
  while (channel >= 0) {
    ssize_t got = recv(channel, line + line_used, sizeof line - line_used, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got <= 0) {
      close(channel);
      channel = -1;
      /* One that ends closes its files a moment before its end is told. */
      if (alive) channel_lost = now_ms() + CLOSED_MS;
      return;
    }
    line_used += (size_t)got;
    char *from = line, *const end = line + line_used;
    for (char *newline; (newline = memchr(from, '\n', (size_t)(end - from))) != NULL; from = newline + 1) {
      *newline = '\0';
      on_line(from, (size_t)(newline - from), alive);
    }
    line_used = (size_t)(end - from);
    memmove(line, from, line_used);
    if (line_used == sizeof line) {
      line_used = 0;
      if (alive) kill_sidecar("a line without an end");
    }
  }
}

/* -- ends of processes ------------------------------------------------------------------------------------------------------------------------- */

static void describe(int status, char *out, size_t size) {
  if (WIFSIGNALED(status)) snprintf(out, size, "signal %d", WTERMSIG(status));
  else snprintf(out, size, "code %d", WEXITSTATUS(status));
}

static void on_engine_end(int status) {
  char how[32];
  pid_t pid = engine.pid;
  describe(status, how, sizeof how);
  kill(-pid, SIGKILL);
  engine.pid = 0;
  engine.killed = false;
  say("engine %d has ended, %s", (int)pid, how);
  tell("engine exited %d %s", (int)pid, how);
}

static void on_kept_end(struct kept *child, int status) {
  char how[32];
  describe(status, how, sizeof how);
  kill(-child->pid, SIGKILL);
  child->pid = 0;
  if (child == &sidecar) {
    read_lines(false);
    if (channel >= 0) close(channel);
    channel = -1;
    channel_lost = NEVER;
    line_used = 0;
    scan_next = now_ms();
  }
  if (ends_with_stop()) return say("the %s has ended, %s", child->name, how);
  start_again_later(child);
  say("the %s has ended, %s, and is started again in %" PRId64 " ms", child->name, how, child->next - now_ms());
}

static void reap(void) {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid == engine.pid) on_engine_end(status);
    else if (pid == sidecar.pid) on_kept_end(&sidecar, status);
    else if (pid == endpoint.pid) on_kept_end(&endpoint, status);
    /* Anything else is an orphan that was given to us; its own orphans may have come with it. */
    else if (scan_next != NEVER) scan_next = now_ms();
  }
}

static void on_stop(int stop_ms) {
  if (ends_with_stop()) return;
  ending = now_ms() + stop_ms;
  say("the member ends: the sidecar has %d ms", stop_ms);
  tell("term %d", stop_ms);
}

static void on_signals(int signals, int stop_ms) {
  struct signalfd_siginfo info;
  while (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
    if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) on_stop(stop_ms);
  }
  /* Signals of a kind are counted once: all who have ended are looked for. */
  reap();
}

/* -- the loop ---------------------------------------------------------------------------------------------------------------------------------- */

/* What its time has come for. @returns true when everything is over */
static bool on_time(void) {
  int64_t now = now_ms();
  if (engine.pid != 0 && !engine.killed && now >= engine.deadline) {
    kill_engine(sidecar.pid != 0 ? "the sidecar has not said that it is well" : "there is no sidecar");
    /* It hangs, or it would have. A new one looks at the records from the beginning (A4). */
    kill_sidecar("it was silent while an engine ran");
  }
  if (channel_lost <= now) {
    channel_lost = NEVER;
    kill_sidecar("it has closed its line");
  }
  if (scan_next <= now) scan_next = kill_strangers() == 0 ? NEVER : now + SCAN_AGAIN_MS;
  if (ends_with_stop()) {
    if (now >= ending) kill_sidecar("its time to end is over");
    if (now >= ending || sidecar.pid == 0) {
      kill_engine("the member ends");
      if (last_wait == NEVER) last_wait = now + LAST_WAIT_MS;
    }
    return last_wait != NEVER && ((engine.pid == 0 && sidecar.pid == 0) || now >= last_wait);
  }
  /* Not beside what the one before it left. */
  if (sidecar.pid == 0 && sidecar.next <= now && scan_next == NEVER) start_sidecar();
  if (endpoint.pid == 0 && endpoint.next <= now) start_kept(&endpoint, -1);
  return false;
}

static int next_wait(void) {
  int64_t first = NEVER;
#define AT(when) ((first) = (when) < (first) ? (when) : (first))
  if (engine.pid != 0 && !engine.killed) AT(engine.deadline);
  AT(scan_next);
  AT(channel_lost);
  AT(last_wait);
  if (ends_with_stop()) {
    if (last_wait == NEVER) AT(ending);
  } else {
    if (sidecar.pid == 0 && scan_next == NEVER) AT(sidecar.next);
    if (endpoint.pid == 0) AT(endpoint.next);
  }
#undef AT
  if (first == NEVER) return -1;
  int64_t wait = first - now_ms();
  return wait < 0 ? 0 : wait > 60000 ? 60000 : (int)wait;
}

static int stop_milliseconds(void) {
  const char *text = getenv("MEMBER_STOP_SECONDS");
  char *end;
  if (text == NULL) return STOP_DEFAULT_SECONDS * 1000;
  long seconds = strtol(text, &end, 10);
  if (*text != '\0' && *end == '\0' && seconds >= 1 && seconds <= 3600) return (int)seconds * 1000;
  say("MEMBER_STOP_SECONDS is not a number from 1 to 3600; it is taken for %d", STOP_DEFAULT_SECONDS);
  return STOP_DEFAULT_SECONDS * 1000;
}

/* Folders that the engine and the endpoint expect in the volume. What is there already belongs to whom it belongs. */
static void make_folders(void) {
  for (unsigned i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++) {
    if (mkdir(FOLDERS[i], 0750) != 0) continue;
    if (geteuid() == 0 && lchown(FOLDERS[i], RUN_AS, RUN_AS) != 0) say("%s could not be given to the engine's user", FOLDERS[i]);
  }
}

/* Of root's powers only what starting and killing the image's user takes: this process reads lines from it. */
static void give_up_powers(void) {
  if (geteuid() != 0) return;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct powers[2] = {{0}};
  powers[0].effective = powers[0].permitted = 1U << CAP_KILL | 1U << CAP_SETGID | 1U << CAP_SETUID;
  if (syscall(SYS_capset, &header, powers) != 0) say("powers could not be given up: errno %d", errno);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    static const char usage[] = "usage: supervisor ENDPOINT|- SIDECAR [ARGUMENT]...\n";
    if (write(STDERR_FILENO, usage, sizeof usage - 1) < 0) return 2;
    return 2;
  }
  self = getpid();
  umask(027);
  setenv("HOME", HOME, 1);
  /* No picture of everybody's data on the disk. */
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  /* Where the limit allows it: what fences must not wait for a page. */
  mlockall(MCL_CURRENT);
  make_folders();
  give_up_powers();

  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGINT);
  sigprocmask(SIG_BLOCK, &mask, &mask_before);
  signal(SIGHUP, SIG_IGN);
  signal(SIGQUIT, SIG_IGN);
  int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) return 1;
  const int stop_ms = stop_milliseconds();

  char *endpoint_argv[] = {argv[1], NULL};
  endpoint.argv = endpoint_argv;
  if (strcmp(argv[1], "-") == 0) endpoint.next = NEVER;
  sidecar.argv = argv + 2;

  while (!on_time()) {
    struct pollfd fds[2] = {{.fd = signals, .events = POLLIN}, {.fd = channel, .events = POLLIN}};
    if (poll(fds, 2, next_wait()) < 0 && errno != EINTR) return 1;
    /* Lines first: a pet that is there already is older than the deadline that it moves. */
    read_lines(true);
    on_signals(signals, stop_ms);
  }
  kill_group(endpoint.pid);
  say("the member has ended");
  return 0;
}
