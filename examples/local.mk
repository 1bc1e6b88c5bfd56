# Examples: compiled as a user would, against the public headers and the library.

EXAMPLES = \
	examples/embed20 \
	examples/epoll_loop \
	examples/embedding_worker \
	examples/http_load \
	examples/local_hits \
	examples/make_vectors \
	examples/read_vectors \
	examples/two_process
if HAVE_LIBEVENT
EXAMPLES += examples/product_service
endif
noinst_PROGRAMS += $(EXAMPLES)

example_cppflags = -I$(top_srcdir)/include
example_ldadd = libnearcache.la -lm

examples_embed20_CPPFLAGS = $(example_cppflags)
examples_embed20_LDADD = $(example_ldadd)

examples_embedding_worker_CPPFLAGS = $(example_cppflags)
examples_embedding_worker_LDADD = $(example_ldadd)

examples_epoll_loop_CPPFLAGS = $(example_cppflags)
examples_epoll_loop_LDADD = $(example_ldadd)

examples_http_load_CPPFLAGS = $(example_cppflags)
examples_http_load_LDADD = $(example_ldadd)

examples_local_hits_CPPFLAGS = $(example_cppflags)
examples_local_hits_LDADD = $(example_ldadd)

examples_make_vectors_CPPFLAGS = $(example_cppflags)
examples_make_vectors_LDADD = $(example_ldadd)

examples_read_vectors_CPPFLAGS = $(example_cppflags)
examples_read_vectors_LDADD = $(example_ldadd)

examples_two_process_CPPFLAGS = $(example_cppflags)
examples_two_process_LDADD = $(example_ldadd)

examples_product_service_CPPFLAGS = $(example_cppflags) $(LIBEVENT_CFLAGS)
examples_product_service_LDADD = $(example_ldadd) $(LIBEVENT_LIBS)
examples_product_service_SOURCES = \
	examples/product_service.c \
	examples/service/catalog.c \
	examples/service/catalog.h \
	examples/service/documents.c \
	examples/service/query.c \
	examples/service/rank.c \
	examples/service/reply.c \
	examples/service/search.c \
	examples/service/service.h \
	examples/service/status.c \
	examples/service/worker.c

EXTRA_DIST += \
	examples/demo.sh \
	examples/lib.sh \
	examples/replay_traces.sh
