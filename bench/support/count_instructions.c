/* A plugin of QEMU (TCG, for programs): prints at the end how many instructions a program has run.
 *
 * Of its interface only what this file needs is declared here, as in QEMU's qemu-plugin.h of
 * versions 6.0 to 8.2: Debian has no package with that header. QEMU 9 loads no plugin of this
 * version of the interface any more. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

typedef uint64_t plugin_id;
typedef struct qemu_plugin_tb block; /* of translated instructions */

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*call)(plugin_id, block *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(block *b, int operation, void *number,
                                                     uint64_t by);
extern size_t qemu_plugin_tb_n_insns(const block *b);
extern void qemu_plugin_register_atexit_cb(plugin_id id, void (*call)(plugin_id, void *), void *);
extern void qemu_plugin_outs(const char *text);

enum { ADD = 0 }; /* QEMU_PLUGIN_INLINE_ADD_U64 */

extern int qemu_plugin_version;
extern int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv);

int qemu_plugin_version = 1;

static uint64_t instructions;

static void note(plugin_id id, block *b) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(b, ADD, &instructions, qemu_plugin_tb_n_insns(b));
}

static void tell(plugin_id id, void *unused) {
    char line[32];
    (void)id;
    (void)unused;
    snprintf(line, sizeof line, "%" PRIu64 "\n", instructions);
    qemu_plugin_outs(line);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    (void)argc;
    (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, note);
    qemu_plugin_register_atexit_cb(id, tell, NULL);
    return 0;
}
