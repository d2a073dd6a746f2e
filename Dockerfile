# Ottla with Kafka's tools and kafkacat, as the tutorial has them. See compose.yaml.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin ottla

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends bash kcat && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/ottla /usr/local/bin/ottla
COPY docker/*.properties /etc/ottla/
COPY docker/start /usr/local/bin/start
RUN ottla install-tools /usr/local/bin
RUN ln -s /usr/bin/kcat /usr/local/bin/kafkacat
VOLUME /var/lib/ottla
ENTRYPOINT ["start"]
