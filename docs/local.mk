# Documents go into the tarball: the docs lint compiles what they show.

EXTRA_DIST += \
	docs/architecture.md \
	docs/coherence.md \
	docs/configuration.md \
	docs/embedding.md \
	docs/eviction.md \
	docs/grafana.json \
	docs/operations.md \
	docs/performance.md \
	docs/queue.md \
	docs/redis.md \
	docs/traces.md
