/* LD_PRELOAD: a disk that is full, read-only, failing or forgetful, as a word in a file says.
 *
 * BAD_DISK_ROOT     a mount point: what lies on that file system is on the disk
 * BAD_DISK_CONTROL  a file whose first int is one of enum trouble; others change it at any time
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum trouble { WELL, FULL, READ_ONLY, FAILING, FORGETFUL };
enum call { GROWS, CHANGES, READS, SYNCS };

#define ONE_IN 4 /* calls that fail on a failing disk */

static const int well = WELL;
static const volatile int *control = &well;
static const char *root = "";
static size_t root_len;
static dev_t disk;
static __thread unsigned dice = 1;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("BAD_DISK_CONTROL");
    struct stat about;
    root = getenv("BAD_DISK_ROOT");
    if (path == NULL || root == NULL || stat(root, &about) != 0)
        return;
    root_len = strlen(root);
    disk = about.st_dev;
    dice = (unsigned)getpid();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    void *found = mmap(NULL, sizeof(int), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED)
        control = found;
}

/* The error of such a call now; 0: none. */
static int fails(enum call call) {
    switch (*control) {
    case FULL:
        return call == GROWS ? ENOSPC : 0;
    case READ_ONLY:
        return call == GROWS || call == CHANGES ? EROFS : 0;
    case FAILING:
        dice = dice * 1664525u + 1013904223u;
        return (dice >> 16) % ONE_IN == 0 ? EIO : 0;
    default:
        return 0;
    }
}

static int on_disk(int fd) {
    struct stat about;
    return *control != WELL && fstat(fd, &about) == 0 && about.st_dev == disk;
}

static int below_root(int at, const char *path) {
    if (*control == WELL || root_len == 0)
        return 0;
    if (path[0] == '/')
        return strncmp(path, root, root_len) == 0;
    return at != AT_FDCWD && on_disk(at);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define CHECK_FD(fd, call)                                                                         \
    if (on_disk(fd) && (errno = fails(call)) != 0)                                                 \
    return -1
#define CHECK_PATH(at, path, call)                                                                 \
    if (below_root(at, path) && (errno = fails(call)) != 0)                                        \
    return -1

static enum call of_open(int at, const char *path, int flags) {
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return GROWS;
    if ((flags & O_CREAT) && faccessat(at, path, F_OK, 0) != 0)
        return GROWS;
    return (flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC) ? READS : CHANGES;
}

static mode_t mode_of(va_list more) {
    return va_arg(more, mode_t);
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t mode = mode_of(more);                                                               \
        va_end(more);                                                                              \
        CHECK_PATH(AT_FDCWD, path, of_open(AT_FDCWD, path, flags));                                \
        return NEXT(name)(path, flags, mode);                                                      \
    }
#define OPEN_AT(name)                                                                              \
    int name(int at, const char *path, int flags, ...) {                                           \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t mode = mode_of(more);                                                               \
        va_end(more);                                                                              \
        CHECK_PATH(at, path, of_open(at, path, flags));                                            \
        return NEXT(name)(at, path, flags, mode);                                                  \
    }
OPEN(open)
OPEN(open64)
OPEN_AT(openat)
OPEN_AT(openat64)

ssize_t read(int fd, void *to, size_t size) {
    CHECK_FD(fd, READS);
    return NEXT(read)(fd, to, size);
}

ssize_t write(int fd, const void *from, size_t size) {
    CHECK_FD(fd, GROWS);
    return NEXT(write)(fd, from, size);
}

#define PREAD(name, off)                                                                           \
    ssize_t name(int fd, void *to, size_t size, off at) {                                          \
        CHECK_FD(fd, READS);                                                                       \
        return NEXT(name)(fd, to, size, at);                                                       \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

#define PWRITE(name, off)                                                                          \
    ssize_t name(int fd, const void *from, size_t size, off at) {                                  \
        CHECK_FD(fd, GROWS);                                                                       \
        return NEXT(name)(fd, from, size, at);                                                     \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(name, off)                                                                        \
    int name(int fd, off size) {                                                                   \
        CHECK_FD(fd, CHANGES);                                                                     \
        return NEXT(name)(fd, size);                                                               \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define FALLOCATE(name, off)                                                                       \
    int name(int fd, off from, off size) {                                                         \
        int error = on_disk(fd) ? fails(GROWS) : 0;                                                \
        return error ? error : NEXT(name)(fd, from, size);                                         \
    }
FALLOCATE(posix_fallocate, off_t)
FALLOCATE(posix_fallocate64, off64_t)

#define SYNC(name)                                                                                 \
    int name(int fd) {                                                                             \
        if (*control == FORGETFUL && on_disk(fd))                                                  \
            return 0;                                                                              \
        CHECK_FD(fd, SYNCS);                                                                       \
        return NEXT(name)(fd);                                                                     \
    }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to) {
    CHECK_PATH(AT_FDCWD, to, CHANGES);
    return NEXT(rename)(from, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    CHECK_PATH(to_at, to, CHANGES);
    return NEXT(renameat)(from_at, from, to_at, to);
}

int link(const char *from, const char *to) {
    CHECK_PATH(AT_FDCWD, to, GROWS);
    return NEXT(link)(from, to);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    CHECK_PATH(to_at, to, GROWS);
    return NEXT(linkat)(from_at, from, to_at, to, flags);
}

int unlink(const char *path) {
    CHECK_PATH(AT_FDCWD, path, CHANGES);
    return NEXT(unlink)(path);
}

int unlinkat(int at, const char *path, int flags) {
    CHECK_PATH(at, path, CHANGES);
    return NEXT(unlinkat)(at, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    CHECK_PATH(AT_FDCWD, path, GROWS);
    return NEXT(mkdir)(path, mode);
}

int chmod(const char *path, mode_t mode) {
    CHECK_PATH(AT_FDCWD, path, CHANGES);
    return NEXT(chmod)(path, mode);
}
