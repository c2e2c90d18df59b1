//! Layer 5: progress, tables and exporters: events in, bytes out.
