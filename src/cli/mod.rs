//! Layer 6: the command line, one file a subcommand; conversion only.
