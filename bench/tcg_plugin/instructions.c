// QEMU TCG plugin: how many AArch64 instructions of each class a program executes, stage by stage.
//
//     qemu-aarch64 -plugin libinstructions.so,out=FILE.json PROGRAM ...
//
// When QEMU translates a block of instructions, the block's count of each class is worked out, and
// the generated code is made to add it to that class's counter each time the block is entered. The
// program marks the beginning of a stage by the system call prctl(0x4152434d, a, b, 0, 0), whose
// a and b are two little-endian words of 8 ASCII characters each, zero-padded: the stage's name.
// The kernel does not know that option and answers EINVAL, so a mark does nothing elsewhere. What
// runs before the first mark is the stage `start`; a name that comes again adds to its stage.
//
// The counters are not atomic: counts are exact while the program has one thread. The file says
// how many threads there were.
//
// Needs no header of QEMU or GLib:
//     gcc -std=c11 -O2 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden
//         -o libinstructions.so instructions.c
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aarch64_classes.h"
#include "qemu_plugin_api.h"

#define PRCTL 167  // the number of the system call on AArch64
#define MARK 0x4152434d
#define NAME_LENGTH 16
#define MOST_STAGES 64

struct stage {
    char name[NAME_LENGTH + 1];
    uint64_t counts[CLASS_COUNT];
};

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static uint64_t counters[CLASS_COUNT];  // of the running stage; the generated code adds to them
static struct stage stages[MOST_STAGES] = {{.name = "start"}};
static size_t stage_count = 1;
static size_t current;
static unsigned threads;
static bool too_many_stages;
static const char *out;

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("error: instruction profile: ", stderr);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
}

static void block_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    uint64_t counts[CLASS_COUNT] = {0};
    size_t instructions = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; i < instructions; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
        counts[classify(word)]++;
    }
    for (size_t class = 0; class < CLASS_COUNT; class++) {
        if (counts[class]) {
            qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64,
                                                     &counters[class], counts[class]);
        }
    }
}

static void close_stage(void) {
    for (size_t class = 0; class < CLASS_COUNT; class++) {
        stages[current].counts[class] += counters[class];
        counters[class] = 0;
    }
}

static void open_stage(const char *name) {
    for (current = 0; current < stage_count; current++) {
        if (strcmp(stages[current].name, name) == 0) return;
    }
    if (stage_count == MOST_STAGES) {
        if (!too_many_stages) complain("more than %d stages; mark fewer", MOST_STAGES);
        too_many_stages = true;
        current = 0;
        return;
    }
    strcpy(stages[stage_count++].name, name);
}

static void system_call(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t option,
                        uint64_t low, uint64_t high, uint64_t a4, uint64_t a5, uint64_t a6,
                        uint64_t a7, uint64_t a8) {
    (void)id, (void)vcpu, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != PRCTL || option != MARK) return;
    char name[NAME_LENGTH + 1] = "";
    for (size_t i = 0; i < NAME_LENGTH; i++) {
        char c = (char)((i < 8 ? low : high) >> i % 8 * 8);
        if (!c) break;
        // Nothing that would have to be escaped in the file.
        name[i] = c < ' ' || c > '~' || c == '"' || c == '\\' ? '?' : c;
    }
    close_stage();
    open_stage(name);
}

static void thread_began(qemu_plugin_id_t id, unsigned vcpu) {
    (void)id, (void)vcpu;
    __atomic_fetch_add(&threads, 1, __ATOMIC_RELAXED);
}

static void write_stage(FILE *file, const struct stage *stage) {
    uint64_t total = 0;
    for (size_t class = 0; class < CLASS_COUNT; class++) total += stage->counts[class];
    fprintf(file, "  {\"name\": \"%s\", \"total\": %" PRIu64, stage->name, total);
    fputs(", \"classes\": {", file);
    for (size_t class = 0; class < CLASS_COUNT; class++) {
        fprintf(file, "%s\"%s\": %" PRIu64, class ? ", " : "", class_names[class],
                stage->counts[class]);
    }
    fputs("}}", file);
}

// Writes under another name and renames, so that a file that is there is whole.
static void write_profile(qemu_plugin_id_t id, void *data) {
    (void)id, (void)data;
    if (too_many_stages) return;
    close_stage();
    char *partial;
    if (asprintf(&partial, "%s.partial-%ld", out, (long)getpid()) < 0) {
        complain("%s: out of memory; free some and run again", out);
        return;
    }
    FILE *file = fopen(partial, "w");
    bool written = false;
    if (file) {
        fputs("{\"profile_version\": 1, \"target\": \"aarch64\",\n", file);
        fprintf(file, " \"threads\": %u, \"stages\": [\n", threads);
        for (size_t i = 0; i < stage_count; i++) {
            write_stage(file, &stages[i]);
            fputs(i + 1 < stage_count ? ",\n" : "\n", file);
        }
        fputs(" ]}\n", file);
        written = !ferror(file);
        written = fclose(file) == 0 && written && rename(partial, out) == 0;
    }
    if (!written) {
        complain("%s: cannot be written (%s); choose another file", out, strerror(errno));
        unlink(partial);
    }
    free(partial);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                           char **argv) {
    if (strcmp(info->target_name, "aarch64") != 0 || info->system_emulation) {
        complain("counts programs under qemu-aarch64, not under another emulator (%s%s)",
                 info->system_emulation ? "system " : "", info->target_name);
        return -1;
    }
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0 && argv[i][4]) {
            out = argv[i] + 4;
        } else {
            complain("%s: unknown argument; give out=FILE", argv[i]);
            return -1;
        }
    }
    if (!out) {
        complain("no file to write; give -plugin libinstructions.so,out=FILE");
        return -1;
    }
    qemu_plugin_register_vcpu_init_cb(id, thread_began);
    qemu_plugin_register_vcpu_tb_trans_cb(id, block_translated);
    qemu_plugin_register_vcpu_syscall_cb(id, system_call);
    qemu_plugin_register_atexit_cb(id, write_profile, NULL);
    return 0;
}
