# A small image of the broker that runs without root. It needs a key, or it refuses to serve a network:
#
#   docker build -t mles .
#   docker run -p 8077:8077 -p 8076:8076 -e MLES_KEY mles
#
# Histories on disk outlive the container in a volume, which has to belong to the user 65532:
#
#   docker run -p 8077:8077 -e MLES_KEY -v mles:/var/lib/mles mles \
#       serve --listen 0.0.0.0:8077 --history disk --store-dir /var/lib/mles
#
# Settings are MLES_ variables, or come from a file: mount it, and end the command with `serve --config FILE`. A stop takes
# up to ten seconds by default, after which `docker stop` kills: give it more with -t.

FROM rust:1.90-slim-bookworm AS build
# For the cryptography of TLS, which is partly C.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked -p mles-broker --bin mles

# Besides the program: the C library, CA certificates for upstreams, and a user `nonroot`.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/dist/mles /usr/bin/mles
USER 65532:65532
# Mles v1; WebSocket, HTTP and the page.
EXPOSE 8077 8076
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=2s --retries=3 CMD ["/usr/bin/mles", "status"]
ENTRYPOINT ["/usr/bin/mles"]
CMD ["serve", "--listen", "0.0.0.0:8077", "--ws", "0.0.0.0:8076", "--admin", "127.0.0.1:8078", "--log-format", "json"]
