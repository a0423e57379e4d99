# syntax=docker/dockerfile:1
# The images, for whoever has a builder and a registry:
#   docker build --target gateway  -t wsc-gateway:0.1.0 .
#   docker build --target operator -t wsc-operator:0.1.0 .
#   docker build --target cli      -t wscctl:0.1.0 .
# Without either, `make images` makes the same from local builds.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release -p wsc-gateway -p wsc-operator -p wsc-cli --bins \
 && install -D -t /out/usr/local/bin target/release/wsc-gateway target/release/wsc-operator target/release/wscctl \
 && strip --strip-debug /out/usr/local/bin/*
# A root for the final images: the shared libraries the programs name, and nothing else. No shell, no package manager.
RUN ldd /out/usr/local/bin/* | grep -o '/[^ ]*\.so[^ ]*' | sort -u | xargs -I{} cp -L --parents {} /out && mkdir -p /out/lib64

FROM scratch AS gateway
COPY --from=build /out/lib /lib
COPY --from=build /out/lib64 /lib64
COPY --from=build /out/usr/local/bin/wsc-gateway /usr/local/bin/wsc-gateway
USER 65532:65532
# WebSocket, HTTP API, gRPC API, admin
EXPOSE 8081 8080 9090 9100
ENTRYPOINT ["/usr/local/bin/wsc-gateway"]

FROM scratch AS operator
COPY --from=build /out/lib /lib
COPY --from=build /out/lib64 /lib64
COPY --from=build /out/usr/local/bin/wsc-operator /usr/local/bin/wsc-operator
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/wsc-operator"]

FROM scratch AS cli
COPY --from=build /out/lib /lib
COPY --from=build /out/lib64 /lib64
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/usr/local/bin/wscctl /usr/local/bin/wscctl
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/wscctl"]
