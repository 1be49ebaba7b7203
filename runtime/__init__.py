"""The runtime: journal, lanes, coordinator, durable turns, and the two hosts they run on."""
