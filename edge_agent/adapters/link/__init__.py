"""The connection to the plant's MQTT 5 broker: outbox out, inbox in. See docs/topics.md."""
