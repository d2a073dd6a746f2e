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
# Where the image of Apache Kafka has them: what starts it, and the tools.
RUN mkdir -p /etc/kafka/docker /opt/kafka && ln -s /usr/local/bin/start /etc/kafka/docker/run && ln -s /usr/local/bin /opt/kafka/bin
VOLUME /var/lib/ottla
EXPOSE 9092
ENTRYPOINT ["start"]
