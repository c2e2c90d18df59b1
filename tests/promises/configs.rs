//! Every study in configs/ runs as it is.
