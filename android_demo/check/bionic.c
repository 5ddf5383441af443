/* What libraries for Android expect of Android's C library and glibc does not have, for
 * android_on_glibc.py. Functions whose numbers or structures differ between the two come here under
 * a name with a 'b' in front, which android_on_glibc.py writes into the libraries. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* stdin, stdout and stderr of Android lie in an array, whose elements are no FILE of glibc. */
enum { BIONIC_FILE_BYTES = 152, BIONIC_FILES = 3 };
char __sF[BIONIC_FILES * BIONIC_FILE_BYTES];

static FILE *glibc_file(FILE *file) {
    const char *at = (const char *)file;
    return at >= __sF && at < __sF + sizeof __sF ? stderr : file;
}

int bprintf(FILE *file, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int written = vfprintf(glibc_file(file), format, arguments);
    va_end(arguments);
    return written;
}

int bvprintf(FILE *file, const char *format, va_list arguments) {
    return vfprintf(glibc_file(file), format, arguments);
}

int bflush(FILE *file) { return fflush(file ? glibc_file(file) : NULL); }

size_t bwrite(const void *data, size_t size, size_t count, FILE *file) {
    return fwrite(data, size, count, glibc_file(file));
}

int bputs(const char *text, FILE *file) { return fputs(text, glibc_file(file)); }

int bputc(int character, FILE *file) { return fputc(character, glibc_file(file)); }

/* A set of signals is one long there. */
int bigfillset(unsigned long *set) {
    *set = ~0UL;
    return 0;
}

long bysconf(int name) {
    switch (name) {
        case 0x27:
        case 0x28:
            return sysconf(_SC_PAGESIZE);
        case 0x60:
            return sysconf(_SC_NPROCESSORS_CONF);
        case 0x61:
            return sysconf(_SC_NPROCESSORS_ONLN);
        case 0x62:
            return sysconf(_SC_PHYS_PAGES);
        default:
            fprintf(stderr, "bionic.c: sysconf(%#x) is unknown\n", name);
            return -1;
    }
}

int *__errno(void) { return __errno_location(); }

char *__gnu_strerror_r(int error, char *buffer, size_t size) {
    return strerror_r(error, buffer, size);
}

/* Checked variants of the compiler's fortification. */
size_t __strlen_chk(const char *text, size_t size) {
    (void)size;
    return strlen(text);
}

char *__strchr_chk(const char *text, int character, size_t size) {
    (void)size;
    return strchr(text, character);
}

char *__strrchr_chk(const char *text, int character, size_t size) {
    (void)size;
    return strrchr(text, character);
}

ssize_t __write_chk(int file, const void *data, size_t count, size_t size) {
    (void)size;
    return write(file, data, count);
}

void __assert2(const char *file, int line, const char *function, const char *condition) {
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, function, condition);
    abort();
}

int __system_property_get(const char *name, char *value) {
    (void)name;
    value[0] = 0;
    return 0;
}

void android_set_abort_message(const char *message) { fprintf(stderr, "%s\n", message); }

void __gcov_dump(void) {}

void __gcov_flush(void) {}

int __android_log_vprint(int priority, const char *tag, const char *format, va_list arguments) {
    (void)priority;
    fprintf(stderr, "%s: ", tag ? tag : "");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    return 1;
}

int __android_log_print(int priority, const char *tag, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int written = __android_log_vprint(priority, tag, format, arguments);
    va_end(arguments);
    return written;
}

int __android_log_write(int priority, const char *tag, const char *message) {
    return __android_log_print(priority, tag, "%s", message);
}

void __android_log_assert(const char *condition, const char *tag, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    __android_log_vprint(0, tag, format ? format : condition, arguments);
    va_end(arguments);
    abort();
}
