#include "redis/identity.h"

struct asking {
    struct nc_sink sink;
    struct nc_identity *identity;
};

/* The value behind `field:` in INFO's text. */
static void append_field(struct nc_identity *id, const char *info, size_t bytes, const char *field)
{
    const char *at = memmem(info, bytes, field, strlen(field));
    if (!at)
        return;
    at += strlen(field);
    size_t used = strlen(id->text);
    while (at < info + bytes && *at != '\r' && *at != '\n' && used + 1 < sizeof id->text)
        id->text[used++] = *at++;
    id->text[used] = 0;
}

static int on_info(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct nc_identity *id = ((struct asking *)sink)->identity;
    if (part->type == NC_REPLY_BULK) {
        append_field(id, part->str, part->bytes, "run_id:");
        append_field(id, part->str, part->bytes, "master_replid:");
        if (memmem(part->str, part->bytes, "role:slave", 10))
            id->replica = true;
    }
    return 0;
}

int nc_identity_ask(struct nc_identity *identity, struct nc_conn *conn, int stop_fd,
                    uint64_t deadline_ns)
{
    struct asking asking = {{on_info}, identity};
    struct nc_command command;
    static const char *const sections[] = {"server", "replication"};
    memset(identity, 0, sizeof *identity);
    nc_command_init(&command);
    for (int i = 0; i < 2; i++) {
        nc_command_begin(&command, 2);
        nc_command_arg(&command, "INFO", 4);
        nc_command_arg(&command, sections[i], strlen(sections[i]));
    }
    int outcome = nc_conn_round_trip(conn, &command, &asking.sink, stop_fd, deadline_ns);
    nc_command_deinit(&command);
    return outcome;
}
