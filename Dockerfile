# The image of the proxy: one static binary, no shell, no root user.
#
#   docker build --build-arg VERSION="$(git describe --tags --always)" -t authinject .
#   docker run --read-only -v ./Caddyfile:/etc/caddy/Caddyfile:ro -v authinject-data:/data authinject
#
# /data holds the stored tokens: keep it on a volume, or every restart asks for new logins.
# /config holds the configuration that Caddy loaded last.
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
	-ldflags="-s -w -buildid= -X github.com/caddyserver/caddy/v2.CustomVersion=authinject-$VERSION" \
	-o /out/usr/bin/caddy ./caddy/cmd/caddy
RUN mkdir -p /out/data /out/config

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/usr/bin/caddy /usr/bin/caddy
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/config /config
ENV HOME=/data
ENV XDG_DATA_HOME=/data
ENV XDG_CONFIG_HOME=/config
VOLUME ["/data", "/config"]
USER 65532:65532
ENTRYPOINT ["/usr/bin/caddy"]
CMD ["run", "--config", "/etc/caddy/Caddyfile"]
