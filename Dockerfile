# One image per program: docker build --target feature-producer . (or l2engine, l2replay, l2ctl, l2monitor)
# BASE is an argument so that a mirror, a digest or a locally made Debian 12 can stand in.
ARG BASE=debian:12-slim

FROM ${BASE} AS builder
WORKDIR /src
# The compiler and librdkafka change seldom: a layer of their own, by the same script that a developer runs.
COPY tools/dev tools/dev
RUN tools/dev/deps.sh build
COPY . .
RUN cmake --preset release \
    && cmake --build --preset release --target feature-producer bar-archiver quality-monitor l2engine l2replay l2ctl l2monitor

FROM ${BASE} AS runtime
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libcurl4 libjansson4 libmicrohttpd12 libpq5 libssl3 libzstd1 zlib1g \
    && rm -rf /var/lib/apt/lists/*
# A number, so that Kubernetes can see that it is not root
USER 65532:65532

FROM runtime AS l2ctl
COPY --from=builder /src/build/release/bin/l2ctl /usr/bin/l2ctl
ENTRYPOINT ["/usr/bin/l2ctl"]

FROM runtime AS l2monitor
COPY --from=builder /src/build/release/bin/l2monitor /usr/bin/l2monitor
ENTRYPOINT ["/usr/bin/l2monitor"]

FROM runtime AS l2replay
COPY --from=builder /src/build/release/bin/l2replay /usr/bin/l2replay
ENTRYPOINT ["/usr/bin/l2replay"]

FROM runtime AS l2engine
COPY --from=builder /src/build/release/bin/l2engine /usr/bin/l2engine
ENTRYPOINT ["/usr/bin/l2engine"]
CMD ["--config", "/etc/l2flow/l2engine.conf"]

FROM runtime AS bar-archiver
COPY --from=builder /src/build/release/bin/bar-archiver /usr/bin/bar-archiver
ENV L2_LISTEN=0.0.0.0:9102
EXPOSE 9102
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9102 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["/usr/bin/bar-archiver"]
CMD ["--config", "/etc/l2flow/bar-archiver.conf"]

FROM runtime AS quality-monitor
COPY --from=builder /src/build/release/bin/quality-monitor /usr/bin/quality-monitor
ENV L2_LISTEN=0.0.0.0:9104
EXPOSE 9104
# Ready once the past is folded, which takes minutes where there are months of it
HEALTHCHECK --interval=5s --timeout=3s --start-period=600s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9104 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["/usr/bin/quality-monitor"]
CMD ["--config", "/etc/l2flow/quality-monitor.conf"]

FROM runtime AS feature-producer
COPY --from=builder /src/build/release/bin/feature-producer /usr/bin/feature-producer
# 127.0.0.1 elsewhere; in a container of its own the probes and Prometheus come from outside
ENV L2_LISTEN=0.0.0.0:9101
EXPOSE 9101
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9101 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["/usr/bin/feature-producer"]
CMD ["--config", "/etc/l2flow/feature-producer.conf"]
