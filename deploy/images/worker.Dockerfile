# The worker. From the repository's root:
#   docker build -f deploy/images/worker.Dockerfile -t ghcr.io/weir-dev/worker:0.1.0 .
# With a program that is built already, in a folder of its own, as the tests do:
#   docker build ... --build-arg BINARIES=prebuilt --build-context prebuilt=FOLDER .
ARG BASE=debian:bookworm-slim
# build: by the stage of that name. prebuilt: from the build context of that name; BASE then has the
# certificates of the web's authorities.
ARG BINARIES=build

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release --package weir-worker

FROM scratch AS from-build
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/release/weir-worker /usr/local/bin/

FROM scratch AS from-prebuilt
COPY --from=prebuilt weir-worker /usr/local/bin/

FROM from-${BINARIES} AS binaries

FROM ${BASE}
LABEL org.opencontainers.image.source=https://github.com/weir-dev/weir \
      org.opencontainers.image.licenses=Apache-2.0
# The example's model, so that it works on anyone's cluster without a hub: file:///models/triage.
COPY examples/triage/model /models/triage
COPY --from=binaries / /
# No name in /etc/passwd: Kubernetes compares numbers to see that this is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/weir-worker"]
