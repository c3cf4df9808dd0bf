/* A disk that is full at a byte, and one that tells what was written, and synchronized.

   Preloaded before the C library. What goes on in files whose paths begin with
   SHIM_FOLDER is written to SHIM_TRACE, record by record: kind (1 byte), length of the
   path (2), length of the data (4), offset (8), path, data; little-endian. Kinds: W a
   write, T a truncation to the offset, S a synchronization, C a file that was made,
   R a rename (data: the new path), U a removal, M a mark of whoever is watched.
   shim_room(n): from now on n bytes may be written there; -1 for any number. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096
static char *paths[FILES]; /* of open files that are watched */
static long room = -1;
static int trace = -1;
static const char *folder;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void note(char kind, const char *path, const void *data, uint32_t size,
                 int64_t offset) {
  if (trace < 0) return;
  uint16_t length = (uint16_t)strlen(path);
  char head[15];
  head[0] = kind;
  memcpy(head + 1, &length, 2);
  memcpy(head + 3, &size, 4);
  memcpy(head + 7, &offset, 8);
  struct iovec parts[3] = {
      {head, 15}, {(void *)path, length}, {(void *)data, size}};
  pthread_mutex_lock(&lock);
  if (syscall(SYS_writev, trace, parts, 3) < 0) abort();
  pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void begin(void) {
  folder = getenv("SHIM_FOLDER");
  const char *path = getenv("SHIM_TRACE");
  if (folder && path)
    trace = (int)syscall(SYS_openat, AT_FDCWD, path,
                         O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

void shim_room(long bytes) { room = bytes; }
void shim_mark(const char *text) { note('M', "", text, (uint32_t)strlen(text), 0); }

static int watched(const char *path, char *full) {
  if (!folder || !path) return 0;
  if (path[0] == '/') {
    snprintf(full, PATH_MAX, "%s", path);
  } else {
    char here[PATH_MAX / 2];
    if (!getcwd(here, sizeof here) || strlen(path) >= PATH_MAX / 2 - 2) return 0;
    snprintf(full, PATH_MAX, "%s/%s", here, path);
  }
  return strncmp(full, folder, strlen(folder)) == 0;
}

static int opened(int fd, const char *path, int flags, int fresh) {
  char full[PATH_MAX];
  if (fd >= 0 && fd < FILES && watched(path, full)) {
    free(paths[fd]);
    paths[fd] = strdup(full);
    if (fresh) note('C', full, "", 0, 0);
    if ((flags & O_TRUNC) && !fresh) note('T', full, "", 0, 0);
  }
  return fd;
}

static int make(int at, const char *path, int flags, mode_t mode) {
  struct stat there;
  char full[PATH_MAX];
  int fresh = (flags & O_CREAT) && watched(path, full) &&
              syscall(SYS_newfstatat, at, path, &there, 0) < 0;
  return opened((int)syscall(SYS_openat, at, path, flags, mode), path, flags, fresh);
}

#define MODE                                  \
  mode_t mode = 0;                            \
  if (flags & (O_CREAT | O_TMPFILE)) {        \
    va_list more;                             \
    va_start(more, flags);                    \
    mode = (mode_t)va_arg(more, int);         \
    va_end(more);                             \
  }

int open(const char *path, int flags, ...) { MODE return make(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return make(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return make(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return make(at, path, flags, mode); }

int close(int fd) {
  if (fd >= 0 && fd < FILES) {
    free(paths[fd]);
    paths[fd] = NULL;
  }
  return (int)syscall(SYS_close, fd);
}

static const char *of(int fd) { return fd >= 0 && fd < FILES ? paths[fd] : NULL; }

static size_t allowed(const char *path, size_t size) {
  if (!path || room < 0) return size;
  size_t some = (size_t)room < size ? (size_t)room : size;
  room -= (long)some;
  return some;
}

ssize_t write(int fd, const void *data, size_t size) {
  const char *path = of(fd);
  size_t some = allowed(path, size);
  if (size && !some) return errno = ENOSPC, -1;
  int64_t at = -1;
  if (path) {
    int flags = fcntl(fd, F_GETFL);
    at = lseek(fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
  }
  ssize_t done = syscall(SYS_write, fd, data, some);
  if (path && done > 0) note('W', path, data, (uint32_t)done, at);
  return done;
}

static ssize_t put(int fd, const void *data, size_t size, off_t offset) {
  const char *path = of(fd);
  size_t some = allowed(path, size);
  if (size && !some) return errno = ENOSPC, -1;
  ssize_t done = syscall(SYS_pwrite64, fd, data, some, offset);
  if (path && done > 0) note('W', path, data, (uint32_t)done, offset);
  return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return put(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return put(fd, data, size, at); }

static int cut(int fd, off_t size) {
  int done = (int)syscall(SYS_ftruncate, fd, size);
  if (of(fd) && !done) note('T', of(fd), "", 0, size);
  return done;
}

int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off_t size) { return cut(fd, size); }

int fsync(int fd) {
  int done = (int)syscall(SYS_fsync, fd);
  if (of(fd) && !done) note('S', of(fd), "", 0, 0);
  return done;
}

int fdatasync(int fd) {
  int done = (int)syscall(SYS_fdatasync, fd);
  if (of(fd) && !done) note('S', of(fd), "", 0, 0);
  return done;
}

int rename(const char *from, const char *to) {
  char old[PATH_MAX], new[PATH_MAX];
  int done = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  if (!done && watched(from, old) && watched(to, new))
    note('R', old, new, (uint32_t)strlen(new), 0);
  return done;
}

int unlink(const char *path) {
  char full[PATH_MAX];
  int done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  if (!done && watched(path, full)) note('U', full, "", 0, 0);
  return done;
}
