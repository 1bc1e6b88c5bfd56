/* Parameters of a request's query string. */
#include <ctype.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

char *query_parameter(struct evhttp_request *request, const char *key)
{
    const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    struct evkeyvalq parameters = {0};
    const char *value = NULL;
    char *copy;

    if (!query || evhttp_parse_query_str(query, &parameters) != 0)
        return NULL;
    value = evhttp_find_header(&parameters, key);
    copy = value ? strdup(value) : NULL;
    evhttp_clear_headers(&parameters);
    return copy;
}

int query_normalised(struct evhttp_request *request, const char *key, char *text)
{
    char *value = query_parameter(request, key);
    size_t length = 0;

    if (!value)
        return 0;
    for (const char *at = value; *at; at++) {
        int blank = isspace((unsigned char)*at);

        if (length + 2 > QUERY_BYTES_MAX) {
            free(value);
            return -1;
        }
        if (!blank)
            text[length++] = (char)tolower((unsigned char)*at);
        else if (length > 0 && text[length - 1] != ' ')
            text[length++] = ' ';
    }
    if (length > 0 && text[length - 1] == ' ')
        length--;
    text[length] = 0;
    free(value);
    return (int)length;
}
