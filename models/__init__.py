"""Models: messages, providers, catalogue and prices, the gateway, and the offline model."""
