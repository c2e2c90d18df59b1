//! Studies from file to result.
