"""Training pictures: sources, crops on the host, patches on the device."""
